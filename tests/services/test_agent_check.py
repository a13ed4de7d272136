"""Threads that wait while their agent changes: what `agents check` finds, and how a run that goes on fails."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from tests.conftest import Deployment, State, chain

from perron import AskPerson, effect
from perron.core.platform import Platform
from perron.integrations.operations.effect import _declared
from perron.plugins.agent import Agent
from perron.services.agent_check import Missing
from perron.services.answer import Answer


def begin(state: State) -> State:
    return {"log": ["begin"]}


def ask(state: State) -> State:
    return {"log": [str(interrupt("Which colour?"))]}


def other(state: State) -> State:
    return {"log": ["other"]}


def nested(*nodes: Any) -> Agent:
    """Make an agent whose only node is a graph of these."""
    inner = chain(*nodes).build
    assert isinstance(inner, StateGraph)
    builder = StateGraph(State)
    builder.add_node("inner", inner.compile())
    builder.add_edge(START, "inner")
    builder.add_edge("inner", END)
    return Agent("agent", builder)


def fan(target: str) -> Agent:
    """Make an agent that sends to a node of this name."""
    builder = StateGraph(State)
    builder.add_node("begin", begin)
    builder.add_node(target, ask)
    builder.add_edge(START, "begin")
    builder.add_conditional_edges("begin", lambda state: [Send(target, state)], [target])
    return Agent("agent", builder)


def join(target: str) -> Agent:
    """Make an agent with two nodes before one of this name."""
    builder = StateGraph(State)
    builder.add_node("begin", begin)
    builder.add_node("other", other)
    builder.add_node(target, ask)
    builder.add_edge(START, "begin")
    builder.add_edge(START, "other")
    builder.add_edge(["begin", "other"], target)
    return Agent("agent", builder)


def renamed(name: str) -> Any:
    def node(state: State) -> State:
        return ask(state)

    node.__name__ = name
    return node


async def missing(platform: Platform) -> list[Missing]:
    return [each async for each in platform.agent_checks.check(platform.caller, "agent")]


CHANGES = {
    "edge": (chain(begin, ask), chain(begin, renamed("query")), ""),
    "send": (fan("ask"), fan("query"), ""),
    "join": (join("ask"), join("query"), ""),
    "subgraph": (nested(begin, ask), nested(begin, renamed("query")), "inner:"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_thread_at_a_node_that_is_gone_is_found_and_its_resume_fails_with_a_sentence(
    deployment: Deployment, change: str
) -> None:
    before, after, namespace = CHANGES[change]
    old = await deployment.open(before)
    waiting = await old.run("agent", {"text": "hi"})
    assert await missing(old) == []
    await old.close()
    new = await deployment.open(after)

    [found] = await missing(new)

    assert (found.kind, found.name, found.thread_id) == ("node", "ask", waiting.thread_id)
    assert found.checkpoint_ns.startswith(namespace)
    run = await new.resume(waiting.thread_id, {waiting.waiting[0].id: Answer("respond", "blue")})
    assert run.status == "error"
    assert run.error is not None
    assert run.error["message"].startswith(
        "The thread stands at 'ask', which the agent 'agent' does not have any more"
    )
    assert "perron agents check agent" in run.error["message"]
    await new.close()

    # Nothing is lost: the version that has the node goes on where the thread stands, and asks once more.
    again = await deployment.open(before)
    run = await again.retry(run.run_id)
    assert (await run.waiting[0].respond("green")).output["log"][-1] == "green"


async def test_new_input_leaves_a_node_that_is_gone_behind(deployment: Deployment) -> None:
    old = await deployment.open(chain(begin, ask))
    waiting = await old.run("agent", {"text": "hi"})
    await old.close()
    new = await deployment.open(chain(begin, other))

    run = await new.run("agent", {"text": "again"}, thread_id=waiting.thread_id)

    assert (run.status, run.output["log"]) == ("success", ["begin", "begin", "other"])
    assert await missing(new) == []


async def test_a_run_in_line_that_goes_on_at_a_node_that_is_gone_is_found(deployment: Deployment) -> None:
    old = await deployment.open(chain(begin, ask))
    waiting = await old.run("agent", {"text": "hi"})
    await old.close()
    new = await deployment.open(chain(begin, other), worker=False)
    run_id = await new.submit("agent", thread_id=waiting.thread_id)

    assert [(found.name, found.run_id) for found in await missing(new)] == [("ask", run_id)]


async def test_threads_of_others_and_of_other_agents_do_not_count(deployment: Deployment) -> None:
    old = await deployment.open(chain(begin, ask), chain(begin, ask, name="another"))
    await old.run("another", {"text": "hi"})
    await old.close()
    new = await deployment.open(chain(begin, other), chain(begin, ask, name="another"))

    assert await missing(new) == []


async def test_an_unsettled_call_of_an_effect_that_is_gone_is_found(deployment: Deployment) -> None:
    @effect("fleeting.say", repeat=AskPerson)
    async def say(text: str) -> str:
        """Say something; no answer comes."""
        raise ConnectionResetError("reset")

    async def talk(state: State) -> State:
        return {"log": [await say("hello")]}

    platform = await deployment.open(chain(talk))
    waiting = await platform.run("agent", {"text": "hi"})
    assert [each.kind for each in waiting.waiting] == ["unknown_outcome"]
    assert await missing(platform) == []
    del _declared["fleeting.say"]  # as in a process whose code does not declare it

    [found] = await missing(platform)

    assert (found.kind, found.name, found.call_state) == ("operation", "fleeting.say", "in_doubt")
    assert found.thread_id == waiting.thread_id
    assert f"perron calls show {found.call_id}" in found.advice


async def test_many_waiting_threads_are_looked_at(deployment: Deployment) -> None:
    old = await deployment.open(chain(begin, ask))
    for _ in range(3):
        await old.run("agent", {"text": "hi"})
    await old.close()
    new = await deployment.open(chain(begin, other))
    # More than a batch of the cursor's: copies of a real thread.
    await deployment.sql(
        "WITH one AS (SELECT * FROM perron.threads LIMIT 1), made AS ("
        "INSERT INTO perron.threads (thread_id, status, metadata) "
        "SELECT gen_random_uuid(), status, metadata FROM one, generate_series(1, 1200) RETURNING thread_id) "
        "INSERT INTO langgraph.checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, "
        "checkpoint, metadata) SELECT made.thread_id::text, c.checkpoint_ns, c.checkpoint_id, "
        "c.parent_checkpoint_id, c.type, c.checkpoint, c.metadata FROM made, langgraph.checkpoints c, one "
        "WHERE c.thread_id = one.thread_id::text"
    )

    count = 0
    async for found in new.agent_checks.check(new.caller, "agent"):
        assert found.name == "ask"
        count += 1
    assert count == 1203
