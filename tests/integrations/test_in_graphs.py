"""Calls and their questions inside real graphs: however an author's code makes them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy, Send, interrupt
from tests.conftest import Deployment
from typing_extensions import TypedDict

from perron import AskPerson, Rejected, approve, effect
from perron.plugins.agent import Agent

sent: list[str] = []
breaking: set[str] = set()
"""Texts whose first sending gets no answer."""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    sent.clear()
    breaking.clear()


@effect("graphs.say", repeat=AskPerson)
async def say(text: str) -> str:
    """Say something."""
    sent.append(text)
    if text in breaking and sent.count(text) == 1:
        raise ConnectionResetError("reset")
    return f"said {text}"


@effect("graphs.say_sync", repeat=AskPerson, thread=True)
def say_sync(text: str) -> str:
    """Say something, in a thread."""
    sent.append(text)
    if text in breaking and sent.count(text) == 1:
        raise ConnectionResetError("reset")
    return f"said {text}"


class State(TypedDict, total=False):
    texts: list[str]
    said: Annotated[list[str], lambda old, new: sorted([*old, *new])]
    messages: Annotated[list[AnyMessage], add_messages]


def agent_of(node: Any, *, name: str = "talker", retry: RetryPolicy | None = None) -> Agent:
    """Make an agent of one node."""
    builder = StateGraph(State)
    builder.add_node("node", node, retry_policy=retry)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return Agent(name, builder)


async def together(state: State) -> State:
    return {"said": list(await asyncio.gather(*[say(text) for text in state["texts"]]))}


async def in_turn(state: State) -> State:
    return {"said": [await say(text) for text in state["texts"]]}


def in_a_thread(state: State) -> State:
    return {"said": [say_sync.sync(text) for text in state["texts"]]}


async def careless(state: State) -> State:
    said = []
    for text in state["texts"]:
        try:
            said.append(await say(text))
        except Exception:  # noqa: BLE001  # what this is about
            said.append("never mind")
    return {"said": said}


subgraph = StateGraph(State)
subgraph.add_node("inner", in_turn)
subgraph.add_edge(START, "inner")


async def around_a_subgraph(state: State) -> State:
    result = await subgraph.compile().ainvoke({"texts": state["texts"]})
    return {"said": result["said"]}


@pytest.mark.parametrize("node", [together, in_turn, in_a_thread, careless, subgraph.compile(), around_a_subgraph])
async def test_a_question_stops_the_run_and_its_answer_lets_it_go_on(deployment: Deployment, node: Any) -> None:
    breaking.add("b")
    platform = await deployment.open(agent_of(node))

    run = await platform.run("talker", {"texts": ["a", "b", "c"]})
    (ask,) = run.waiting
    resumed = await ask.answer("give_result", "given b")

    assert (ask.kind, ask.args) == ("unknown_outcome", {"text": "b"})
    assert resumed.status == "success"
    assert resumed.output["said"] == ["given b", "said a", "said c"]
    assert sorted(sent) == ["a", "b", "c"]


async def test_several_questions_are_answered_one_by_one(deployment: Deployment) -> None:
    breaking.update("bc")
    platform = await deployment.open(agent_of(together))

    run = await platform.run("talker", {"texts": ["a", "b", "c"]})
    assert [ask.args["text"] for ask in run.waiting] == ["b", "c"]
    run = await run.waiting[1].answer("send")
    assert [ask.args["text"] for ask in run.waiting] == ["b"]
    run = await run.waiting[0].answer("abort")

    assert run.status == "error"
    assert run.error is not None
    assert run.error["error"] == "Aborted"
    assert sorted(sent) == ["a", "b", "c", "c"]


async def test_tools_that_run_side_by_side_are_told_apart(deployment: Deployment) -> None:
    @tool
    def speak(text: str) -> str:
        """Speak."""
        return say_sync.sync(text)

    async def model(state: State) -> State:
        calls = [{"name": "speak", "args": {"text": t}, "id": f"call-{i}"} for i, t in enumerate(state["texts"])]
        return {"messages": [AIMessage("", tool_calls=calls)]}

    builder = StateGraph(State)
    builder.add_node("model", model)
    builder.add_node("tools", ToolNode([speak]))
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    breaking.add("b")
    platform = await deployment.open(Agent("talker", builder))

    run = await platform.run("talker", {"texts": ["a", "b", "a"]})
    (ask,) = run.waiting
    run = await ask.answer("give_result", "given b")

    assert [m["content"] for m in run.output["messages"][1:]] == ["said a", "given b", "said a"]
    assert sorted(sent) == ["a", "a", "b"]


async def test_parallel_tasks_of_one_step_may_do_the_same(deployment: Deployment) -> None:
    builder = StateGraph(State)
    builder.add_node("start", lambda state: {})
    builder.add_node("node", in_turn)
    builder.add_edge(START, "start")
    builder.add_conditional_edges("start", lambda state: [Send("node", {"texts": [t]}) for t in state["texts"]])
    breaking.add("b")
    platform = await deployment.open(Agent("talker", builder))

    run = await platform.run("talker", {"texts": ["a", "a", "b"]})
    (ask,) = run.waiting
    run = await ask.answer("give_result", "given b")

    assert run.output["said"] == ["given b", "said a", "said a"]
    assert sorted(sent) == ["a", "a", "b"]


async def test_tasks_of_an_entrypoint(deployment: Deployment) -> None:
    @task
    async def speak(text: str) -> str:
        return await say(text)

    @entrypoint()
    async def main(texts: list[str]) -> list[str]:
        return list(await asyncio.gather(*[speak(text) for text in texts]))

    breaking.add("b")
    platform = await deployment.open(Agent("talker", main))

    run = await platform.run("talker", ["a", "b"])
    (ask,) = run.waiting
    run = await ask.answer("give_result", "given b")

    assert run.output == ["said a", "given b"]
    assert sorted(sent) == ["a", "b"]


async def test_a_node_that_is_retried_makes_no_call_twice(deployment: Deployment) -> None:
    tries: list[int] = []

    async def shaky(state: State) -> State:
        said = await together(state)
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("shaky")
        return said

    platform = await deployment.open(agent_of(shaky, retry=RetryPolicy(initial_interval=0.01)))

    run = await platform.run("talker", {"texts": ["a", "b"]})

    assert run.output["said"] == ["said a", "said b"]
    assert len(tries) == 2
    assert sorted(sent) == ["a", "b"]


async def test_a_subgraph_in_a_node_that_is_retried_makes_no_call_twice(deployment: Deployment) -> None:
    tries: list[int] = []

    async def inner(state: State) -> State:
        said = await in_turn(state)
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("shaky")
        return said

    within = StateGraph(State)
    within.add_node("inner", inner)
    within.add_edge(START, "inner")
    compiled = within.compile()

    async def outer(state: State) -> State:
        return {"said": (await compiled.ainvoke({"texts": state["texts"]}))["said"]}

    platform = await deployment.open(agent_of(outer, retry=RetryPolicy(initial_interval=0.01)))

    run = await platform.run("talker", {"texts": ["a", "b"]})

    assert run.output["said"] == ["said a", "said b"]
    assert len(tries) == 2
    assert sorted(sent) == ["a", "b"]


async def test_a_loop_may_do_the_same_again(deployment: Deployment) -> None:
    builder = StateGraph(State)
    builder.add_node("node", in_turn)
    builder.add_edge(START, "node")
    builder.add_conditional_edges("node", lambda state: "node" if len(state["said"]) < 3 else END)
    platform = await deployment.open(Agent("talker", builder))

    run = await platform.run("talker", {"texts": ["a"]})

    assert run.waiting == ()
    assert sent == ["a", "a", "a"]


async def test_a_turn_after_an_interrupt_may_do_the_same_again(deployment: Deployment) -> None:
    """Also when the task that resumes makes no call, and the one beside it that did is not run again."""

    async def speak(state: State) -> State:
        (text,) = state["texts"]
        return {"said": [interrupt("what?") if text == "?" else await say(text)]}

    builder = StateGraph(State)
    builder.add_node("start", lambda state: {})
    builder.add_node("node", speak)
    builder.add_edge(START, "start")
    builder.add_conditional_edges("start", lambda state: [Send("node", {"texts": [t]}) for t in state["texts"]])
    platform = await deployment.open(Agent("talker", builder))
    run = await platform.run("talker", {"texts": ["a", "?"]})
    run = await run.waiting[0].respond("that")
    assert run.output["said"] == ["said a", "that"]

    run = await platform.run("talker", {"texts": ["a"]}, thread_id=run.thread_id)

    assert run.waiting == ()
    assert sent == ["a", "a"]


async def test_new_input_instead_of_an_answer_does_not_repeat_what_was_done(deployment: Deployment) -> None:
    breaking.add("b")
    platform = await deployment.open(agent_of(in_turn))
    run = await platform.run("talker", {"texts": ["a", "b"]})

    again = await platform.run("talker", {"texts": ["a", "x"]}, thread_id=run.thread_id)

    assert [ask.kind for ask in again.waiting] == ["mismatch"]
    assert sorted(sent) == ["a", "b"]


async def test_an_approval_in_front_of_a_call(deployment: Deployment) -> None:
    async def ask_first(state: State) -> State:
        try:
            args = await approve("Say it?", args={"text": state["texts"][0]})
        except Rejected as exc:
            return {"said": [f"rejected: {exc}"]}
        return {"said": [await say(args["text"])]}

    platform = await deployment.open(agent_of(ask_first))

    edited = await (await platform.run("talker", {"texts": ["a"]})).waiting[0].edit({"text": "z"})
    approved = await (await platform.run("talker", {"texts": ["a"]})).waiting[0].approve()
    rejected = await (await platform.run("talker", {"texts": ["a"]})).waiting[0].reject("Not today.")

    assert edited.output["said"] == ["said z"]
    assert approved.output["said"] == ["said a"]
    assert rejected.output["said"] == ["rejected: Not today."]
    assert sent == ["z", "a"]
