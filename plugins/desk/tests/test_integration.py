"""The desk's operations in runs, against a real desk that misbehaves on request."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from perron import Agent, Platform, RunResult, integration
from perron_desk import Customer, Desk
from perron_desk_server.process import DeskProcess

CUSTOMER, CARD, PAYMENT = "c-1", "card-1-1", "pay-1-1"


class State(TypedDict, total=False):
    steps: list[str]
    result: Any


async def customer() -> Any:
    found = await integration(Desk).customer(CUSTOMER)
    assert isinstance(found, Customer)
    return found.model_dump(mode="json")


async def tickets() -> Any:
    return [ticket.subject async for ticket in integration(Desk).tickets(state="open")]


async def open_ticket() -> Any:
    return (await integration(Desk).open_ticket(CUSTOMER, "Lost card", "I lost it.")).ref


async def freeze_card() -> Any:
    return (await integration(Desk).freeze_card(CARD)).status


async def refund() -> Any:
    return (await integration(Desk).refund(PAYMENT, 500)).amount_cents


async def send_message() -> Any:
    return (await integration(Desk).send_message("ann@mail.example", "Hello")).id


STEPS: dict[str, Callable[[], Any]] = {
    step.__name__: step for step in (customer, tickets, open_ticket, freeze_card, refund, send_message)
}


async def work(state: State) -> State:
    return {"result": [await STEPS[step]() for step in state["steps"]]}


def build() -> Any:
    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_edge("work", END)
    return graph


@pytest.fixture
async def platform(
    desk: DeskProcess, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Platform]:
    monkeypatch.setenv("PERRON_KEY", base64.b64encode(os.urandom(32)).decode())
    monkeypatch.setenv("PERRON_CONNECTION_DESK", desk.token)
    monkeypatch.setenv("PERRON_INTEGRATION_DESK__BASE_URL", desk.url)
    agent = Agent("worker", build)
    async with Platform.open(database_url=database_url, home=tmp_path, plugins="desk", agents=[agent]) as opened:
        yield opened


async def run(platform: Platform, *steps: str) -> RunResult:
    return await platform.run("worker", {"steps": list(steps)})


async def test_every_operation_does_what_it_says(platform: Platform, desk: DeskProcess) -> None:
    done = await run(platform, "open_ticket", "freeze_card", "refund", "send_message", "tickets", "customer")

    ref, status, cents, message, subjects, found = done.raise_for_status().output["result"]
    assert (status, cents, subjects) == ("frozen", 500, ["Lost card"])
    assert message.startswith("m-")
    assert found["cards"] == [{"id": CARD, "status": "frozen"}]
    assert desk.counts() == {"freeze": 1, "ticket": 1, "refund": 1, "message": 1}
    assert desk.book("ticket")[0].ref == ref


async def test_tickets_are_read_over_all_pages(platform: Platform, desk: DeskProcess) -> None:
    await run(platform, *["open_ticket"] * 25)

    listed = await run(platform, "tickets")

    assert listed.output["result"] == [["Lost card"] * 25]


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "error_before", "error_after"])
@pytest.mark.parametrize(
    ("step", "kind", "path"),
    [("refund", "refund", "POST /payments/*"), ("open_ticket", "ticket", "POST /tickets")],
)
async def test_a_fault_makes_nothing_happen_twice(
    platform: Platform, desk: DeskProcess, fault: str, step: str, kind: str, path: str
) -> None:
    desk.arm(fault, path)

    (await run(platform, step)).raise_for_status()

    assert len(desk.book(kind)) == 1


@pytest.mark.parametrize("fault", ["drop_after", "error_after"])
async def test_a_message_in_doubt_waits_for_a_person(platform: Platform, desk: DeskProcess, fault: str) -> None:
    desk.arm(fault, "POST /messages")

    waiting = await run(platform, "send_message")

    (ask,) = waiting.waiting
    assert ask.kind == "unknown_outcome"
    assert len(desk.book("message")) == 1


async def test_a_limit_is_waited_for(platform: Platform, desk: DeskProcess) -> None:
    desk.arm("rate_limited", "POST /messages", retry_after_s=0)

    (await run(platform, "send_message")).raise_for_status()

    assert len(desk.book("message")) == 1


@pytest.mark.parametrize("fault", ["html", "huge"])
async def test_an_odd_answer_after_the_effect_sends_nothing_again(
    platform: Platform, desk: DeskProcess, fault: str
) -> None:
    desk.arm(fault, "POST /payments/*")

    await run(platform, "refund")

    assert len(desk.book("refund")) == 1


async def test_what_a_desk_does_not_know_is_a_definite_no(platform: Platform, desk: DeskProcess) -> None:
    STEPS["unknown"] = lambda: integration(Desk).customer("c-x")

    ended = await run(platform, "unknown")

    assert ended.status == "error"
    assert "c-x" in str(ended.error)


async def test_neither_token_nor_address_is_in_the_calls(platform: Platform, desk: DeskProcess) -> None:
    await run(platform, "customer", "send_message")

    calls = [
        await platform.calls.get(platform.caller, call.call_id)
        for call in await platform.calls.search(platform.caller)
    ]
    shown = repr([[vars(call), *(vars(attempt) for attempt in call.attempts)] for call in calls])
    assert sorted(call.operation for call in calls) == ["desk.customer", "desk.send_message"]
    assert desk.token not in shown
    assert "mail.example" not in shown
