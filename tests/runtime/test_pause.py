"""Pauses: what waits, what goes on, and that nothing is lost or done twice."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from tests.conftest import Deployment, State, chain, until

from perron import AskPerson, SameKey, approve, effect
from perron.core.platform import Platform
from perron.plugins.agent import Agent

said: list[str] = []
under_way = asyncio.Event()
go_on = asyncio.Event()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    said.clear()
    under_way.clear()
    go_on.clear()


@effect("pausable.say", repeat=AskPerson)
async def say(text: str) -> str:
    """Say something."""
    said.append(text)
    return f"said {text}"


@effect("pausable.slow", repeat=AskPerson)
async def slow(text: str) -> str:
    """Say something, and wait for the test."""
    said.append(text)
    under_way.set()
    await go_on.wait()
    return f"said {text}"


async def row_of(deployment: Deployment, run_id: Any) -> dict[str, Any]:
    [row] = await deployment.sql(
        "SELECT status, epoch, attempt, parked_by, worker_id, started_at FROM perron.runs WHERE run_id = %s",
        run_id,
    )
    return row


async def is_parked(deployment: Deployment, run_id: Any) -> dict[str, Any]:
    """Return the run's row once it was given back for a pause."""
    async with asyncio.timeout(20):
        while (row := await row_of(deployment, run_id))["status"] != "pending" or row["parked_by"] is None:
            pass
    return row


async def looked_twice(platform: Platform) -> None:
    """Let the platform's worker look for work twice from now on."""
    assert platform._worker is not None
    pauses = platform._opened.shared.pauses

    def has_looked(before: object) -> bool:
        return pauses._found is not before

    for _ in range(2):
        platform._worker.nudge()
        await until(partial(has_looked, pauses._found))


async def test_runs_of_a_paused_agent_wait_in_line_and_those_of_others_go_on(deployment: Deployment) -> None:
    def step(state: State) -> State:
        return {"log": [state["text"]]}

    operator = await deployment.open(worker=False)
    worker = await deployment.open(chain(step, name="one"), chain(step, name="other"))
    await operator.pauses.pause(operator.caller, "agent", "one", reason="a bad release")
    await looked_twice(worker)

    waiting = [await worker.submit("one", {"text": str(n)}) for n in range(2)]
    done = await worker.run("other", {"text": "hi"})
    await looked_twice(worker)

    assert done.status == "success"
    assert [(await row_of(deployment, run_id))["epoch"] for run_id in waiting] == [0, 0]
    [view] = await operator.pauses.list_with_runs(operator.caller)
    assert (view.pause.reason, view.runs) == ("a bad release", 2)

    await operator.pauses.unpause(operator.caller, "agent", "one")
    assert [(await worker.join(run_id)).output["log"] for run_id in waiting] == [["0"], ["1"]]


async def test_a_running_run_goes_back_at_its_next_step_and_its_attempt_is_not_counted(
    deployment: Deployment,
) -> None:
    steps: list[str] = []

    async def first(state: State) -> State:
        steps.append("first")
        under_way.set()
        await go_on.wait()
        return {"log": ["first"]}

    async def second(state: State) -> State:
        steps.append("second")
        return {"log": ["second"]}

    agent = chain(first, second)
    operator = await deployment.open(worker=False)
    worker = await deployment.open(agent)
    run_id = await worker.submit("agent", {"text": "hi"})
    await under_way.wait()

    await operator.pauses.pause(operator.caller, "all", reason="a look at the numbers")
    await looked_twice(worker)
    go_on.set()
    row = await is_parked(deployment, run_id)
    await looked_twice(worker)

    assert (row["attempt"], row["worker_id"], steps) == (0, None, ["first"])
    assert row["started_at"] is None  # the time in line does not count for the run's limit
    await operator.pauses.unpause(operator.caller, "all")
    run = await worker.join(run_id)
    assert (run.status, run.output["log"], steps) == ("success", ["first", "second"], ["first", "second"])


async def test_a_run_that_comes_to_a_call_of_a_paused_integration_is_parked_before_it(
    deployment: Deployment,
) -> None:
    async def talk(state: State) -> State:
        await say("one")
        under_way.set()
        await go_on.wait()
        return {"log": [await say("two")]}

    operator = await deployment.open(worker=False)
    worker = await deployment.open(chain(talk))
    run_id = await worker.submit("agent", {"text": "hi"})
    await under_way.wait()

    await operator.pauses.pause(operator.caller, "integration", "pausable", reason="their maintenance")
    await looked_twice(worker)
    go_on.set()
    row = await is_parked(deployment, run_id)
    await looked_twice(worker)

    assert (await row_of(deployment, run_id), said) == (row, ["one"])
    assert row["attempt"] == 0
    assert await deployment.sql("SELECT state FROM perron.calls") == [{"state": "done"}]
    assert await deployment.sql("SELECT 1 FROM perron.asks") == []
    await operator.pauses.unpause(operator.caller, "integration", "pausable")
    assert (await worker.join(run_id)).output["log"] == ["said two"]
    assert said == ["one", "two"]


async def test_a_call_that_was_sent_before_the_pause_is_settled(deployment: Deployment) -> None:
    async def talk(state: State) -> State:
        return {"log": [await slow("hello")]}

    operator = await deployment.open(worker=False)
    worker = await deployment.open(chain(talk))
    run_id = await worker.submit("agent", {"text": "hi"})
    await under_way.wait()

    await operator.pauses.pause(operator.caller, "integration", "pausable", reason="their maintenance")
    await looked_twice(worker)
    go_on.set()

    assert (await worker.join(run_id)).output["log"] == ["said hello"]


async def test_a_parked_head_keeps_its_threads_line(deployment: Deployment) -> None:
    async def talk(state: State) -> State:
        return {"log": [await say(state["text"]) if state["text"] == "call" else state["text"]]}

    worker = await deployment.open(chain(talk))
    await worker.pauses.pause(worker.caller, "integration", "pausable", reason="their maintenance")
    await looked_twice(worker)
    head = await worker.submit("agent", {"text": "call"})
    await is_parked(deployment, head)
    thread_id = (await worker.runs.get(worker.caller, head)).thread_id

    behind = await worker.submit("agent", {"text": "no call"}, thread_id=thread_id)
    await looked_twice(worker)

    assert (await row_of(deployment, behind))["epoch"] == 0
    await worker.pauses.unpause(worker.caller, "integration", "pausable")
    assert (await worker.join(behind)).output["log"] == ["said call", "no call"]


async def test_what_swallows_exceptions_cannot_swallow_a_pause(deployment: Deployment) -> None:
    async def careless(state: State) -> State:
        try:
            async with asyncio.TaskGroup() as group:
                spoken = group.create_task(say("hello"))
            return {"log": [spoken.result()]}
        except Exception:  # noqa: BLE001  # what this is about
            return {"log": ["lost"]}

    worker = await deployment.open(chain(careless))
    await worker.pauses.pause(worker.caller, "integration", "pausable", reason="their maintenance")
    await looked_twice(worker)
    run_id = await worker.submit("agent", {"text": "hi"})
    await is_parked(deployment, run_id)

    await worker.pauses.unpause(worker.caller, "integration", "pausable")
    assert (await worker.join(run_id)).output["log"] == ["said hello"]


async def test_a_neighbour_in_the_same_step_ends_and_is_not_run_again(deployment: Deployment) -> None:
    starts: list[str] = []

    async def quiet(state: State) -> State:
        starts.append("quiet")
        under_way.set()
        await go_on.wait()
        return {"log": ["quiet"]}

    async def talk(state: State) -> State:
        starts.append("talk")
        return {"log": [await say("hello")]}

    builder = StateGraph(State)
    for node in (quiet, talk):
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
        builder.add_edge(node.__name__, END)
    worker = await deployment.open(Agent("agent", builder))
    await worker.pauses.pause(worker.caller, "integration", "pausable", reason="their maintenance")
    await looked_twice(worker)
    run_id = await worker.submit("agent", {"text": "hi"})
    await under_way.wait()
    go_on.set()
    await is_parked(deployment, run_id)

    await worker.pauses.unpause(worker.caller, "integration", "pausable")
    assert sorted((await worker.join(run_id)).output["log"]) == ["quiet", "said hello"]
    assert starts.count("quiet") == 1


async def test_a_question_to_a_person_is_asked_although_a_neighbouring_call_is_paused(
    deployment: Deployment,
) -> None:
    async def both(state: State) -> State:
        _, spoken = await asyncio.gather(approve("May I?", args={}), say("hello"))
        return {"log": [spoken]}

    worker = await deployment.open(chain(both))
    await worker.pauses.pause(worker.caller, "integration", "pausable", reason="their maintenance")
    await looked_twice(worker)

    run = await worker.run("agent", {"text": "hi"})

    assert [ask.kind for ask in run.waiting] == ["approval"]
    resuming = asyncio.create_task(run.waiting[0].approve())
    async with asyncio.timeout(20):
        while not await deployment.sql("SELECT 1 FROM perron.runs WHERE parked_by IS NOT NULL"):
            pass
    await worker.pauses.unpause(worker.caller, "integration", "pausable")
    assert (await resuming).output["log"] == ["said hello"]


async def test_a_pause_between_the_look_and_the_claim_is_seen_by_the_claim(deployment: Deployment) -> None:
    def step(state: State) -> State:
        return {"log": ["ran"]}

    operator = await deployment.open(chain(step), worker=False)
    run_id = await operator.submit("agent", {"text": "hi"})
    async with deployment.connect() as locker:
        await locker.execute("BEGIN")
        await locker.execute("SELECT 1 FROM perron.threads FOR UPDATE")
        worker = await deployment.open(chain(step))
        await deployment.waits_for_a_lock()  # it has looked, and stands before the claim
        await operator.pauses.pause(operator.caller, "agent", "agent", reason="a bad release")
        await locker.execute("ROLLBACK")
    await looked_twice(worker)

    assert (await row_of(deployment, run_id))["epoch"] == 0
    await operator.pauses.unpause(operator.caller, "agent", "agent")
    assert (await worker.join(run_id)).status == "success"


async def test_a_run_of_a_dead_worker_is_not_taken_over_while_it_is_paused(deployment: Deployment) -> None:
    async def wait(state: State) -> State:
        if not under_way.is_set():
            under_way.set()
            await asyncio.Event().wait()
        return {"log": ["ran"]}

    one = await deployment.open(chain(wait), poll_s=30.0)
    run_id = await one.submit("agent", {"text": "hi"})
    await under_way.wait()
    await one.pauses.pause(one.caller, "agent", "agent", reason="a bad release")
    other = await deployment.open(chain(wait))

    await deployment.declare_dead(one)
    await looked_twice(other)

    assert (await row_of(deployment, run_id))["epoch"] == 1
    assert (await other.health.get(other.caller)).orphans == 0
    assert [view.runs for view in await other.pauses.list_with_runs(other.caller)] == [1]
    await other.pauses.unpause(other.caller, "agent", "agent")
    assert (await other.join(run_id)).output["log"] == ["ran"]


async def test_a_call_in_doubt_waits_for_the_end_of_the_pause_and_is_then_sent_again(
    deployment: Deployment,
) -> None:
    async def talk(state: State) -> State:
        return {"log": [await flaky("hello")]}

    worker = await deployment.open(chain(talk))
    run_id = await worker.submit("agent", {"text": "hi"})
    await under_way.wait()
    await worker.pauses.pause(worker.caller, "integration", "pausable", reason="they are down")
    await looked_twice(worker)
    go_on.set()  # no answer comes: the next try would be the second
    await is_parked(deployment, run_id)

    assert said == ["hello"]
    await worker.pauses.unpause(worker.caller, "integration", "pausable")
    assert (await worker.join(run_id)).output["log"] == ["said hello"]
    assert said == ["hello", "hello"]


@effect("pausable.flaky", repeat=SameKey("Idempotency-Key", ttl_h=24))
async def flaky(text: str) -> str:
    """Say something; the first time no answer comes."""
    said.append(text)
    if len(said) == 1:
        under_way.set()
        await go_on.wait()
        raise ConnectionResetError("reset")
    return f"said {text}"


async def test_a_cancel_of_a_parked_run_ends_it(deployment: Deployment) -> None:
    async def talk(state: State) -> State:
        return {"log": [await say("hello")]}

    worker = await deployment.open(chain(talk))
    await worker.pauses.pause(worker.caller, "integration", "pausable", reason="their maintenance")
    await looked_twice(worker)
    run_id = await worker.submit("agent", {"text": "hi"})
    await is_parked(deployment, run_id)

    cancelled = await worker.cancel(run_id)

    assert cancelled is not None
    assert (cancelled.status, said) == ("interrupted", [])
