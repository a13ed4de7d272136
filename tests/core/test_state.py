"""The state of threads between runs: read, looked back at, changed, forked."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import id as checkpoint_ids
from langgraph.types import interrupt
from tests.conftest import Deployment, State, chain

from perron.caller import Caller
from perron.core.platform import Platform
from perron.errors import (
    CheckpointMovedError,
    CheckpointNotFoundError,
    InvalidInputError,
    NotWaitingError,
    ThreadBusyError,
    ThreadNotFoundError,
)
from perron.runtime.checkpointer import FencedSaver
from perron.services.answer import Answer


async def one(state: State) -> State:
    return {"text": f"{state['text']}1", "log": ["one"]}


async def two(state: State) -> State:
    return {"text": f"{state['text']}2", "log": ["two"]}


def ask(state: State) -> State:
    return {"log": [str(interrupt(f"{state['text']}?"))]}


async def test_the_state_is_that_of_the_last_run(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))
    run = await platform.run("agent", {"text": "0"})

    state = await platform.state(run.thread_id)
    history = await platform.history(run.thread_id)

    assert (state.values, state.next) == ({"text": "012", "log": ["one", "two"]}, ())
    assert [snapshot.values.get("text") for snapshot in history] == ["012", "01", "0", None]
    third = await platform.state(run.thread_id, checkpoint_id=checkpoint_of(history[1]))
    assert third.next == ("two",)
    older = await platform.history(run.thread_id, before=checkpoint_of(history[0]), limit=1)
    assert [snapshot.values["text"] for snapshot in older] == ["01"]


def checkpoint_of(snapshot: Any) -> str:
    return str(snapshot.config["configurable"]["checkpoint_id"])


async def test_a_state_is_changed_as_if_a_node_had_returned_it(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))
    run = await platform.run("agent", {"text": "0"})

    await platform.update_state(run.thread_id, {"text": "x"}, as_node="one")

    thread = await platform.threads.get(platform.caller, run.thread_id)
    assert (thread.status, thread.values and thread.values["text"]) == ("interrupted", "x")
    assert (await platform.state(run.thread_id)).next == ("two",)
    assert (await platform.run("agent", None, thread_id=run.thread_id)).output["text"] == "x2"


async def test_a_fork_begins_at_an_older_checkpoint(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))
    run = await platform.run("agent", {"text": "0"})
    after_one = (await platform.history(run.thread_id))[1]

    again = await platform.run("agent", None, thread_id=run.thread_id, checkpoint_id=checkpoint_of(after_one))
    await platform.update_state(run.thread_id, {"text": "y"}, checkpoint_id=checkpoint_of(after_one))
    forked = await platform.run("agent", None, thread_id=run.thread_id)

    assert again.output == {"text": "012", "log": ["one", "two"]}
    assert forked.output["text"] == "y2"


async def test_a_fork_from_a_checkpoint_that_is_pruned_meanwhile_is_refused(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = await deployment.open(chain(one, two))
    run = await platform.run("agent", {"text": "0"})
    before = (await platform.state(run.thread_id)).values
    older = checkpoint_of((await platform.history(run.thread_id))[1])
    put = FencedSaver.aput

    async def prune_and_put(saver: FencedSaver, *arguments: Any) -> Any:
        await platform.pruning.prune(platform.caller, [run.thread_id], strategy="keep_latest")
        return await put(saver, *arguments)

    monkeypatch.setattr(FencedSaver, "aput", prune_and_put)
    with pytest.raises(CheckpointNotFoundError):
        await platform.update_state(run.thread_id, {"text": "y"}, checkpoint_id=older)

    assert (await platform.state(run.thread_id)).values == before


async def test_a_checkpoint_that_the_thread_does_not_have_is_no_empty_state(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one))
    run = await platform.run("agent", {"text": "0"})
    another = await platform.run("agent", {"text": "0"})
    strange = checkpoint_of(await platform.state(another.thread_id))

    with pytest.raises(CheckpointNotFoundError, match="has no checkpoint 'nope'"):
        await platform.state(run.thread_id, checkpoint_id="nope")
    with pytest.raises(CheckpointNotFoundError, match=f"perron threads history {run.thread_id}"):
        await platform.update_state(run.thread_id, {"text": "x"}, checkpoint_id=strange)
    with pytest.raises(CheckpointNotFoundError):
        await platform.run("agent", {"text": "x"}, thread_id=run.thread_id, checkpoint_id=strange)
    assert (await platform.state(run.thread_id)).values["text"] == "01"


async def test_a_thread_with_a_run_in_line_is_not_changed(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one))
    run = await platform.run("agent", {"text": "0"})
    await platform.submit("agent", {"text": "1"}, thread_id=run.thread_id, after_seconds=3600)

    with pytest.raises(ThreadBusyError):
        await platform.update_state(run.thread_id, {"text": "x"})
    assert (await platform.state(run.thread_id)).values["text"] == "01"


async def test_of_two_changes_at_once_one_is_refused(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one))
    run = await platform.run("agent", {"text": "0"})
    before = len(await platform.history(run.thread_id))

    changes = await asyncio.gather(
        *(platform.update_state(run.thread_id, {"text": str(i)}) for i in range(4)), return_exceptions=True
    )

    refused = [change for change in changes if isinstance(change, CheckpointMovedError)]
    done = [change for change in changes if isinstance(change, dict)]
    assert len(refused) + len(done) == 4
    assert len(done) >= 1
    assert len(await platform.history(run.thread_id)) == before + len(done)


async def test_a_change_that_does_not_fit_is_refused(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one))
    run = await platform.run("agent", {"text": "0"})

    with pytest.raises(InvalidInputError, match="nowhere"):
        await platform.update_state(run.thread_id, {"text": "x"}, as_node="nowhere")
    with pytest.raises(ThreadNotFoundError):
        await platform.update_state(uuid4(), {"text": "x"})
    empty = await platform.threads.create(platform.caller)
    with pytest.raises(InvalidInputError, match="run one"):
        await platform.state(empty.thread_id)


async def test_a_change_drops_what_the_thread_has_waited_for(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, ask))
    run = await platform.run("agent", {"text": "0"})

    await platform.update_state(run.thread_id, {"text": "x"}, as_node="one")

    thread = await platform.threads.get(platform.caller, run.thread_id)
    assert (thread.status, thread.interrupts) == ("interrupted", {})
    assert await platform.asks.search(platform.caller) == []
    with pytest.raises(NotWaitingError):
        await platform.resume(run.thread_id, {run.waiting[0].id: Answer("respond", "late")})
    again = await platform.run("agent", None, thread_id=run.thread_id)
    assert [ask.question for ask in again.waiting] == ["x?"]
    assert (await again.waiting[0].respond("yes")).output["log"] == ["one", "yes"]


async def test_nobody_else_sees_or_changes_a_state(deployment: Deployment) -> None:
    one_s = await deployment.open(chain(one), caller=Caller("ann"))
    run = await one_s.run("agent", {"text": "0"})
    other = await deployment.open(chain(one), caller=Caller("bob"))

    for use in (
        other.state(run.thread_id),
        other.history(run.thread_id),
        other.update_state(run.thread_id, {"text": "x"}),
    ):
        with pytest.raises(ThreadNotFoundError):
            await use


async def _ahead(platform: Platform, deployment: Deployment) -> tuple[Any, str, str]:
    """Run a thread whose last checkpoint comes from a clock that is 30 s fast; then set this one right again."""
    run = await platform.run("agent", {"text": "0"})
    older = checkpoint_of((await platform.history(run.thread_id))[1])
    checkpoint_ids._last_v6_timestamp = _uuid_time() + 300_000_000  # type: ignore[assignment]  # it says None
    await platform.update_state(run.thread_id, {"text": "fast"}, as_node="two")
    fast = checkpoint_of(await platform.state(run.thread_id))
    checkpoint_ids._last_v6_timestamp = None
    return run.thread_id, older, fast


def _uuid_time() -> int:
    return time.time_ns() // 100 + 0x01B21DD213814000


async def test_a_turn_after_a_fast_clock_wins(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))
    thread_id, _, fast = await _ahead(platform, deployment)

    run = await platform.run("agent", {"text": "next"}, thread_id=thread_id)

    assert run.output["text"] == "next12"
    assert (await platform.state(thread_id)).values["text"] == "next12"
    assert checkpoint_of(await platform.state(thread_id)) > fast


async def test_a_fork_after_a_fast_clock_wins(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))
    thread_id, older, fast = await _ahead(platform, deployment)

    await platform.run("agent", None, thread_id=thread_id, checkpoint_id=older)

    assert checkpoint_of(await platform.state(thread_id)) > fast
    assert (await platform.state(thread_id)).values["text"] == "012"


async def test_a_change_of_an_older_checkpoint_after_a_fast_clock_wins(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))
    thread_id, older, fast = await _ahead(platform, deployment)

    await platform.update_state(thread_id, {"text": "changed"}, checkpoint_id=older)

    assert checkpoint_of(await platform.state(thread_id)) > fast
    assert (await platform.state(thread_id)).values["text"] == "changed"
