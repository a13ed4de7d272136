"""What a new run does about those that its thread has in line, and what active runs forbid."""

from __future__ import annotations

import asyncio
import time
from typing import Any, get_args

import pytest
from langgraph.types import Command, interrupt
from tests.conftest import Deployment, State, chain

from perron.core.platform import Platform
from perron.errors import (
    CheckpointNotFoundError,
    InvalidInputError,
    NotWaitingError,
    RunEndedError,
    RunGoneError,
    RunNotFoundError,
    ThreadBusyError,
)
from perron.models.run import CancelAction, Run
from perron.schemas.run import RunCreate
from perron.services.answer import Answer

BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


async def node(state: State) -> State:
    return {"log": [state["text"]]}


async def ask(state: State) -> State:
    return {"log": [interrupt("Really?")]}


class Holding:
    """An agent's nodes: one that ends, and one that awaits until it is let go."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def hold(self, state: State) -> State:
        self.reached.set()
        await self.go.wait()
        return {"log": ["held"]}


@pytest.fixture
async def line(deployment: Deployment) -> Platform:
    """A platform that executes nothing: runs stay in line."""
    return await deployment.open(chain(node), worker=False)


async def put(platform: Platform, **options: Any) -> Run:
    body = RunCreate(**{"assistant_id": "agent", "input": {"text": "hi"}, **options})
    return await platform.runs.create(platform.caller, body)


async def statuses(platform: Platform, run: Run) -> list[str]:
    """Return the statuses of the runs of a run's thread, in their order."""
    runs = await platform.runs.search(platform.caller, thread_id=run.thread_id)
    return [run.status for run in sorted(runs, key=lambda run: run.seq)]


async def test_reject_refuses_while_a_run_is_in_line(line: Platform) -> None:
    first = await put(line)

    with pytest.raises(ThreadBusyError, match=BUSY) as raised:
        await put(line, thread_id=first.thread_id, multitask_strategy="reject")

    assert raised.value.http_status == 409
    assert await statuses(line, first) == ["pending"]
    await line.cancel(first.run_id)
    assert (await put(line, thread_id=first.thread_id, multitask_strategy="reject")).status == "pending"


async def test_interrupt_cancels_the_runs_in_line(line: Platform) -> None:
    first = await put(line)
    await put(line, thread_id=first.thread_id, after_seconds=3600)

    last = await put(line, thread_id=first.thread_id, multitask_strategy="interrupt")

    assert await statuses(line, first) == ["interrupted", "interrupted", "pending"]
    assert [event.event async for event in line.follow(first.run_id)] == ["end"]
    assert (await line.threads.get(line.caller, first.thread_id)).status == "busy"
    assert last.seq == 3


async def test_rollback_deletes_the_runs_in_line(line: Platform) -> None:
    first = await put(line)
    await put(line, thread_id=first.thread_id)

    await put(line, thread_id=first.thread_id, multitask_strategy="rollback")

    assert await statuses(line, first) == ["pending"]
    assert (await line.threads.get(line.caller, first.thread_id)).status == "busy"
    with pytest.raises(RunNotFoundError):
        await line.runs.get(line.caller, first.run_id)


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_interrupt_stops_the_running_run_and_follows_it(deployment: Deployment, is_elsewhere: bool) -> None:
    holding = Holding()
    agents = chain(node, holding.hold), chain(node, name="other")
    platform = await deployment.open(*agents)
    there = await deployment.open(*agents, worker=False) if is_elsewhere else platform
    held = await platform.submit("agent", {"text": "one"})
    await holding.reached.wait()
    thread_id = (await platform.runs.get(platform.caller, held)).thread_id

    after = await there.run("other", {"text": "two"}, thread_id=thread_id, multitask_strategy="interrupt")

    assert (await there.join(held)).status == "interrupted"
    assert (after.status, after.output["log"]) == ("success", ["one", "two"])


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_rollback_deletes_the_running_run_and_follows_it(deployment: Deployment, is_elsewhere: bool) -> None:
    holding = Holding()
    agents = chain(node, holding.hold), chain(node, name="other")
    platform = await deployment.open(*agents)
    there = await deployment.open(*agents, worker=False) if is_elsewhere else platform
    held = await platform.submit("agent", {"text": "one"})
    await holding.reached.wait()
    thread_id = (await platform.runs.get(platform.caller, held)).thread_id

    after = await there.run("other", {"text": "two"}, thread_id=thread_id, multitask_strategy="rollback")

    assert (after.status, after.output["log"]) == ("success", ["two"])
    with pytest.raises(RunNotFoundError):
        await there.join(held)


async def test_a_new_run_waits_until_the_one_that_it_stops_has_ended(deployment: Deployment) -> None:
    holding = Holding()
    platform = await deployment.open(chain(holding.hold), poll_s=600.0)
    other = await deployment.open(chain(holding.hold), worker=False)
    held = await platform.submit("agent", {"text": "one"})
    await holding.reached.wait()
    run = await platform.runs.get(platform.caller, held)

    new = await put(other, thread_id=run.thread_id, multitask_strategy="rollback")
    newer = await put(other, thread_id=run.thread_id, multitask_strategy="interrupt")

    told = await platform.runs.get(platform.caller, held)
    assert (told.status, told.cancel_action) == ("running", "rollback")  # nothing takes a rollback back
    assert await statuses(other, new) == ["running", "interrupted", "pending"]
    assert newer.seq == 3
    holding.go.set()
    with pytest.raises(RunNotFoundError):
        await platform.join(held)


async def test_a_repeated_creation_under_its_key_stops_nobody(line: Platform) -> None:
    first = await put(line, idempotency_key="k")

    again = await put(line, thread_id=first.thread_id, idempotency_key="k", multitask_strategy="rollback")

    assert (again.run_id, await statuses(line, first)) == (first.run_id, ["pending"])


async def test_a_run_that_is_refused_stops_nobody(line: Platform) -> None:
    first = await put(line)

    with pytest.raises(CheckpointNotFoundError):
        await put(line, thread_id=first.thread_id, multitask_strategy="interrupt", checkpoint_id="none")
    with pytest.raises(InvalidInputError, match="starts a thread with an input"):
        await put(line, thread_id=first.thread_id, multitask_strategy="rollback", input=None)

    assert await statuses(line, first) == ["pending"]


async def test_runs_that_interrupt_each_other_at_once_leave_one_in_line(line: Platform) -> None:
    first = await put(line)

    await asyncio.gather(
        *(put(line, thread_id=first.thread_id, multitask_strategy="interrupt") for _ in range(6)),
        *(put(line, thread_id=first.thread_id, multitask_strategy="rollback") for _ in range(6)),
    )

    assert (await statuses(line, first)).count("pending") == 1


async def test_a_thread_that_failed_has_failed_again_when_the_run_in_line_is_cancelled(
    deployment: Deployment,
) -> None:
    def fails(state: State) -> State:
        raise ValueError("no")

    platform = await deployment.open(chain(fails))
    failed = await platform.run("agent", {"text": "one"})
    for action in get_args(CancelAction):
        run_id = await platform.submit("agent", {"text": "two"}, thread_id=failed.thread_id, after_seconds=3600)
        await platform.cancel(run_id, action=action)

        assert (await platform.threads.get(platform.caller, failed.thread_id)).status == "error"


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_cancel_acts_within_two_seconds_with_the_default_settings(
    deployment: Deployment, action: Any
) -> None:
    holding = Holding()
    platform = await deployment.open(chain(holding.hold), poll_s=1.0)
    other = await deployment.open(chain(holding.hold), worker=False)
    run_id = await platform.submit("agent", {"text": "one"})
    await holding.reached.wait()
    began_s = time.monotonic()

    await other.cancel(run_id, action=action)
    try:
        status = (await other.join(run_id)).status
    except RunGoneError:
        status = "gone"

    assert time.monotonic() - began_s < 2.0
    assert status == {"interrupt": "interrupted", "rollback": "gone"}[action]


async def test_a_run_that_was_rolled_back_or_has_ended_is_not_cancelled(line: Platform) -> None:
    gone, ended = await put(line), await put(line)
    await line.cancel(gone.run_id, action="rollback")
    await line.cancel(ended.run_id)

    with pytest.raises(RunNotFoundError):
        await line.cancel(gone.run_id)
    with pytest.raises(RunEndedError):
        await line.cancel(ended.run_id, action="rollback")
    with pytest.raises(InvalidInputError, match="interrupt or rollback"):
        await line.cancel(ended.run_id, action="drop")  # type: ignore[arg-type]  # what a client may send


async def test_what_an_active_run_forbids_is_a_conflict(deployment: Deployment) -> None:
    platform = await deployment.open(chain(ask))
    waiting = await platform.run("agent", {"text": "one"})
    [question] = waiting.waiting
    line = await deployment.open(chain(ask), worker=False)
    await platform.close()
    answers = {question.id: Answer("respond", "yes")}
    body = RunCreate(assistant_id="agent", thread_id=waiting.thread_id)
    first = await line.runs.create(line.caller, body, answers=answers)

    for strategy in ("enqueue", "reject"):
        second = body.model_copy(update={"multitask_strategy": strategy})
        with pytest.raises(ThreadBusyError):
            await line.runs.create(line.caller, second, answers=answers)
    with pytest.raises(ThreadBusyError):
        await line.submit("agent", Command(resume="no"), thread_id=waiting.thread_id)
    with pytest.raises(ThreadBusyError):
        await line.update_state(waiting.thread_id, {"text": "other"})

    await line.cancel(first.run_id)
    assert (await line.update_state(waiting.thread_id, {"text": "other"})) is not None
    with pytest.raises(NotWaitingError) as raised:
        await line.submit("agent", Command(resume="no"), thread_id=waiting.thread_id)
    assert raised.value.http_status == 409


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_an_answer_takes_the_place_of_one_that_is_still_in_line(
    deployment: Deployment, strategy: str
) -> None:
    platform = await deployment.open(chain(ask))
    waiting = await platform.run("agent", {"text": "one"})
    await platform.close()
    line = await deployment.open(chain(ask), worker=False)
    await line.submit("agent", Command(resume="yes"), thread_id=waiting.thread_id)

    again = await line.submit(
        "agent", Command(resume="no"), thread_id=waiting.thread_id, multitask_strategy=strategy
    )

    worker = await deployment.open(chain(ask))
    assert (await worker.join(again)).output["log"] == ["no"]
