"""Interrupts as asks: LangChain's human-in-the-loop requests, and any author's value."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.types import Interrupt
from tests.conftest import Deployment

from perron.core.result import RunResult
from perron.integrations.run.open_ask import OpenAsk
from perron.plugins.agent import Agent
from perron.runtime.asks import asks_of

ID = "0" * 32


class FakeModel(GenericFakeChatModel):
    """Says what it was told to, with any tools."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> FakeModel:
        return self


def booking(calls: list[str]) -> Agent:
    """Make LangChain's agent with a tool that a person has to allow."""

    @tool
    def book(room: str) -> str:
        """Book a room."""
        calls.append(room)
        return f"booked {room}"

    def build() -> Any:
        call = {"name": "book", "args": {"room": "blue"}, "id": "call-1"}
        model = FakeModel(messages=iter([AIMessage("", tool_calls=[call])] * 1 + [AIMessage("done")] * 9))
        return create_agent(model, [book], middleware=[HumanInTheLoopMiddleware(interrupt_on={"book": True})])

    graph = build()
    return Agent("agent", graph)


@pytest.mark.parametrize(
    ("decide", "booked"),
    [
        (lambda ask: ask.approve(), ["blue"]),
        (lambda ask: ask.edit({"room": "red"}), ["red"]),
        (lambda ask: ask.reject("too small"), []),
    ],
    ids=["approve", "edit", "reject"],
)
async def test_langchains_requests_are_decided_as_asks(
    deployment: Deployment, decide: Any, booked: list[str]
) -> None:
    calls: list[str] = []
    platform = await deployment.open(booking(calls))
    run = await platform.run("agent", {"messages": [{"role": "user", "content": "a room, please"}]})

    [ask] = run.waiting
    assert (ask.kind, set(ask.decisions) >= {"approve", "edit", "reject"}) == ("approval", True)
    assert [request["name"] for request in ask.args] == ["book"]
    assert calls == []
    done: RunResult = await decide(ask)

    assert (done.status, done.waiting) == ("success", ()), done.error
    assert calls == booked
    if not booked:
        assert any("too small" in str(message["content"]) for message in done.output["messages"])


def test_an_authors_value_becomes_the_question() -> None:
    ours = OpenAsk("2" * 32, "approval", "ours?", None, ("approve",))
    value = {"question": "sure?", "n": 1}
    interrupts = [Interrupt("really?", id=ID), Interrupt(value, id="1" * 32), Interrupt(7, id=ours.interrupt_id)]

    plain, asked, own = asks_of(interrupts, {ours.interrupt_id: ours})

    assert (plain.kind, plain.question, plain.arguments, plain.decisions) == (
        "interrupt",
        "really?",
        "really?",
        ("respond",),
    )
    assert (asked.question, asked.arguments) == ("sure?", value)
    assert own is ours


def test_requests_are_shown_together() -> None:
    value = {
        "action_requests": [{"name": "book", "args": {}, "description": "Book blue"}, {"name": "pay", "args": {}}],
        "review_configs": [{"action_name": "book", "allowed_decisions": ["approve", "reject"]}],
    }

    [ask] = asks_of([Interrupt(value, id=ID)], {})

    assert (ask.kind, ask.question, ask.decisions) == ("approval", "Book blue; pay", ("approve", "reject"))
    assert ask.arguments == value["action_requests"]
