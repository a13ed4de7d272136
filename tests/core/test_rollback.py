"""Runs that are rolled back: their thread is as before them, and their calls are not forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from tests.conftest import Deployment, State, chain, until

from perron import AskPerson, approve, effect
from perron.core.platform import Platform
from perron.errors import CheckpointNotFoundError, RunGoneError, RunNotFoundError
from perron.plugins.agent import Agent
from perron.services.answer import Answer

Node = Callable[[State], Awaitable[State]]

sent: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    sent.clear()


@effect("rollback.say", repeat=AskPerson)
async def say(text: str) -> str:
    """Say something."""
    sent.append(text)
    return f"said {text}"


class Gate:
    """A node that holds a run of the text `stop` until it is cancelled, and lets others pass; when open, all."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.is_open = False

    async def gate(self, state: State) -> State:
        if state["text"] == "stop" and not self.is_open:
            self.reached.set()
            await asyncio.Event().wait()
        return {"log": [f"passed {state['text']}"]}


async def keep(state: State) -> State:
    return {"log": [f"kept {state['text']}"]}


async def everything(deployment: Deployment) -> dict[str, Any]:
    """Return all that a run changes in the database, as rows."""
    found: dict[str, Any] = {}
    for table, columns in {
        "langgraph.checkpoints": "*",
        "langgraph.checkpoint_writes": "*",
        "langgraph.checkpoint_blobs": "*",
        "perron.run_events": "*",
        "perron.replaced_writes": "*",
        "perron.kept_seals": "*",
        "perron.runs": "run_id, status",
        "perron.threads": "thread_id, status, values, interrupts, error",
        "perron.asks": "ask_id, interrupt_id, state",
        "perron.ask_answers": "*",
    }.items():
        rows = await deployment.sql(f"SELECT {columns} FROM {table}")  # of the test's own
        found[table] = sorted(repr(row) for row in rows)
    return found


async def roll_back(platform: Platform, run_id: UUID) -> None:
    """Cancel a run and wait until it is gone."""
    await platform.cancel(run_id, action="rollback")
    with pytest.raises(RunGoneError, match="rolled back"):
        await platform.join(run_id)


async def test_a_run_that_is_rolled_back_leaves_nothing_on_a_new_thread(deployment: Deployment) -> None:
    gate = Gate()
    platform = await deployment.open(chain(keep, gate.gate))
    thread = await platform.threads.create(platform.caller)
    before = await everything(deployment)
    run_id = await platform.submit("agent", {"text": "stop"}, thread_id=thread.thread_id)
    await gate.reached.wait()

    await roll_back(platform, run_id)

    assert await everything(deployment) == before
    with pytest.raises(RunNotFoundError):
        await platform.runs.get(platform.caller, run_id)


async def test_readers_of_a_run_that_is_rolled_back_hear_of_it(deployment: Deployment) -> None:
    gate = Gate()
    platform = await deployment.open(chain(keep, gate.gate))
    run_id = await platform.submit("agent", {"text": "stop"}, stream_mode=["updates"])
    await gate.reached.wait()
    seen: list[str] = []

    async def read() -> None:
        async for event in platform.follow(run_id):
            seen.append(event.event)

    reading = asyncio.create_task(read())
    await until(lambda: "updates" in seen)
    await platform.cancel(run_id, action="rollback")

    with pytest.raises(RunGoneError):
        await reading
    assert "end" not in seen


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_a_later_turn_is_taken_back_and_the_turns_before_it_stay(
    deployment: Deployment, is_elsewhere: bool
) -> None:
    gate = Gate()
    platform = await deployment.open(chain(keep, gate.gate))
    other = await deployment.open(chain(keep, gate.gate), worker=False) if is_elsewhere else platform
    first = await platform.run("agent", {"text": "one"})
    await platform.update_state(first.thread_id, {"log": ["changed"]})
    before = await everything(deployment)
    run_id = await platform.submit("agent", {"text": "stop"}, thread_id=first.thread_id)
    await gate.reached.wait()

    await roll_back(other, run_id)

    assert await everything(deployment) == before
    again = await platform.run("agent", {"text": "two"}, thread_id=first.thread_id)
    assert again.output["log"] == ["kept one", "passed one", "changed", "kept two", "passed two"]


async def test_a_run_that_another_worker_took_over_is_taken_back_from_its_first_step_on(
    deployment: Deployment,
) -> None:
    gate = Gate()
    agent = chain(keep, gate.gate)
    one = await deployment.open(agent)
    first = await one.run("agent", {"text": "one"})
    before = await everything(deployment)
    run_id = await one.submit("agent", {"text": "stop"}, thread_id=first.thread_id)
    await gate.reached.wait()
    gate.reached.clear()
    await deployment.declare_dead(one)
    await gate.reached.wait()

    await roll_back(one, run_id)

    assert await everything(deployment) == before


async def test_a_rollback_of_a_run_whose_worker_is_dead_is_done_by_the_next(deployment: Deployment) -> None:
    platform = await deployment.open(chain(keep), worker=False)
    run_id = await platform.submit("agent", {"text": "one"})
    await deployment.sql(
        "UPDATE perron.runs SET status = 'running', epoch = 1, attempt = 1, started_at = now(),"
        " worker_id = gen_random_uuid()"
    )
    cancelled = await platform.cancel(run_id, action="rollback")

    await deployment.open(chain(keep))
    with pytest.raises(RunGoneError):
        await platform.join(run_id)

    assert cancelled is not None
    assert (await everything(deployment))["langgraph.checkpoints"] == []


def questions(gate: Gate) -> Agent:
    """Make an agent whose first node asks twice, in a subgraph, beside a node that does not ask."""

    async def twice(state: State) -> State:
        first = interrupt("The first?")
        return {"log": [first, interrupt("The second?")]}

    async def beside(state: State) -> State:
        return {"log": ["beside"]}

    inner = StateGraph(State)
    inner.add_node("keep", keep)
    inner.add_node("twice", twice)
    inner.add_edge(START, "keep")
    inner.add_edge("keep", "twice")
    inner.add_edge("twice", END)
    builder = StateGraph(State)
    builder.add_node("inner", inner.compile())
    builder.add_node("beside", beside)
    builder.add_node("gate", gate.gate)
    builder.add_edge(START, "inner")
    builder.add_edge(START, "beside")
    builder.add_edge(["inner", "beside"], "gate")
    builder.add_edge("gate", END)
    return Agent("agent", builder)


async def test_an_answer_that_led_to_a_run_that_is_rolled_back_can_be_given_again(deployment: Deployment) -> None:
    gate = Gate()
    platform = await deployment.open(questions(gate))
    first = await platform.run("agent", {"text": "stop"})
    second = await first.waiting[0].respond("a")
    before = await everything(deployment)
    resumed = asyncio.create_task(second.waiting[0].respond("b"))
    await gate.reached.wait()
    [run] = await platform.runs.search(platform.caller, status="running")

    await platform.cancel(run.run_id, action="rollback")
    with pytest.raises(RunGoneError):
        await resumed

    assert await everything(deployment) == before
    gate.is_open = True
    again = await second.waiting[0].respond("c")
    assert sorted(again.output["log"]) == ["a", "beside", "c", "kept stop", "passed stop"]


async def test_answers_in_the_middle_of_a_node_are_taken_back(deployment: Deployment) -> None:
    gate = Gate()

    async def node(state: State) -> State:
        first = interrupt("The first?")
        if first == "hold":
            gate.reached.set()
            await asyncio.Event().wait()
        return {"log": [first, interrupt("The second?")]}

    platform = await deployment.open(chain(node))
    first = await platform.run("agent", {"text": "one"})
    before = await everything(deployment)
    resumed = asyncio.create_task(first.waiting[0].respond("hold"))
    await gate.reached.wait()
    [run] = await platform.runs.search(platform.caller, status="running")
    await platform.cancel(run.run_id, action="rollback")
    with pytest.raises(RunGoneError):
        await resumed

    assert await everything(deployment) == before
    second = await first.waiting[0].respond("a")
    third = await second.waiting[0].respond("b")
    assert third.output["log"] == ["a", "b"]


async def test_a_commands_update_is_taken_back(deployment: Deployment) -> None:
    gate = Gate()
    platform = await deployment.open(chain(keep, gate.gate))
    first = await platform.run("agent", {"text": "one"})
    before = await everything(deployment)
    run_id = await platform.submit(
        "agent", Command(update={"text": "stop"}, goto="gate"), thread_id=first.thread_id
    )
    await gate.reached.wait()

    await roll_back(platform, run_id)

    assert await everything(deployment) == before


async def test_a_run_in_line_that_has_begun_before_is_taken_back_at_once(deployment: Deployment) -> None:
    gate = Gate()
    platform = await deployment.open(chain(keep, gate.gate), drain_s=0.1)
    first = await platform.run("agent", {"text": "one"})
    before = await everything(deployment)
    run_id = await platform.submit("agent", {"text": "stop"}, thread_id=first.thread_id)
    await gate.reached.wait()
    await platform.close()
    await deployment.sql("UPDATE perron.runs SET status = 'pending', worker_id = NULL WHERE run_id = %s", run_id)
    line = await deployment.open(chain(keep, gate.gate), worker=False)

    assert await line.cancel(run_id, action="rollback") is None

    assert await everything(deployment) == before


async def test_a_rollback_that_comes_while_a_run_ends_is_not_too_late(deployment: Deployment) -> None:
    passing = asyncio.Event()

    async def wait(state: State) -> State:
        await passing.wait()
        return {"log": ["ended"]}

    platform = await deployment.open(chain(wait))
    thread = await platform.threads.create(platform.caller)
    before = await everything(deployment)
    run_id = await platform.submit("agent", {"text": "one"}, thread_id=thread.thread_id)
    async with deployment.connect() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM perron.threads FOR NO KEY UPDATE")  # the end waits for this
        passing.set()
        await deployment.waits_for_a_lock()
        await deployment.sql("UPDATE perron.runs SET cancel_action = 'rollback'")

    with pytest.raises(RunNotFoundError):
        await platform.join(run_id)
    assert await everything(deployment) == before


async def test_a_checkpoint_that_was_rolled_back_is_no_place_to_start_from(deployment: Deployment) -> None:
    gate = Gate()
    platform = await deployment.open(chain(keep, gate.gate))
    first = await platform.run("agent", {"text": "one"})
    run_id = await platform.submit("agent", {"text": "stop"}, thread_id=first.thread_id)
    await gate.reached.wait()
    newest = (await platform.state(first.thread_id)).config["configurable"]["checkpoint_id"]
    fork = {"thread_id": first.thread_id, "checkpoint_id": newest}
    in_line = await platform.submit("agent", **fork)

    with pytest.raises(CheckpointNotFoundError):
        await platform.submit("agent", **fork, multitask_strategy="rollback")
    await roll_back(platform, run_id)
    ended = await platform.join(in_line)

    assert (ended.status, ended.error and ended.error["error"]) == ("error", "CheckpointNotFoundError")


async def test_a_call_of_a_run_that_was_rolled_back_is_asked_about_before_it_is_made_again(
    deployment: Deployment,
) -> None:
    gate = Gate()

    async def speak(state: State) -> State:
        return {"log": [await say(state["log"][0])]}

    async def hear(state: State) -> State:
        return {"log": ["hello"]} if not state.get("log") else {}

    platform = await deployment.open(chain(hear, speak, gate.gate))
    thread = await platform.threads.create(platform.caller)
    run_id = await platform.submit("agent", {"text": "stop"}, thread_id=thread.thread_id)
    await gate.reached.wait()
    await roll_back(platform, run_id)

    again = await platform.run("agent", {"text": "go"}, thread_id=thread.thread_id)
    [ask] = again.waiting
    done = await ask.answer("send")
    later = await platform.run("agent", {"text": "later"}, thread_id=thread.thread_id)

    assert (ask.kind, "in a run that was rolled back" in ask.question) == ("mismatch", True)
    assert done.output["log"] == ["hello", "said hello", "passed go"]
    assert (later.status, sent) == ("success", ["hello"] * 3)  # a later turn says it by itself
    calls = await platform.calls.search(platform.caller)
    assert run_id in {call.run_id for call in calls}


async def test_calls_of_an_earlier_run_are_replayed_after_a_rollback(deployment: Deployment) -> None:
    gate = Gate()

    async def speak(state: State) -> State:
        said = await say("hello")
        return {"log": [said, str(await approve("Go on?", args=state["text"]))]}

    platform = await deployment.open(chain(speak, gate.gate))
    first = await platform.run("agent", {"text": "stop"})
    before = await everything(deployment)
    resumed = asyncio.create_task(first.waiting[0].approve())
    await gate.reached.wait()
    [run] = await platform.runs.search(platform.caller, status="running")
    await platform.cancel(run.run_id, action="rollback")
    with pytest.raises(RunGoneError):
        await resumed

    assert await everything(deployment) == before
    edited = asyncio.create_task(platform.resume(first.thread_id, {first.waiting[0].id: Answer("edit", "other")}))
    gate.reached.clear()
    await gate.reached.wait()
    [run] = await platform.runs.search(platform.caller, status="running")
    await platform.cancel(run.run_id)
    ended = await edited
    state = await platform.state(first.thread_id)
    assert (ended.status, state.values["log"]) == ("interrupted", ["said hello", "other"])
    assert sent == ["hello"]
