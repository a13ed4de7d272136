"""A process that was taken for dead and comes back starts nothing any more; without its safeguards it does."""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.playing import on_stage
from tests.faults.stage import Stage

TABLES = (
    "perron.runs",
    "perron.run_events",
    "perron.calls",
    "perron.call_attempts",
    "perron.asks",
    "perron.threads",
    "langgraph.checkpoints",
    "langgraph.checkpoint_writes",
    "langgraph.checkpoint_blobs",
)


async def rows(stage: Stage) -> dict[str, list[str]]:
    """Return all that the database knows of runs, calls and states."""
    return {
        table: sorted(row["t"] for row in await stage.sql(f"SELECT t::text FROM {table} AS t")) for table in TABLES
    }


async def changed(stage: Stage, before: dict[str, list[str]]) -> list[str]:
    """Return the tables that have changed."""
    after = await rows(stage)
    return [table for table in TABLES if after[table] != before[table]]


def send(ask: dict[str, Any]) -> dict[str, Any]:
    return {ask["id"]: {"decision": "send"}}


@pytest.mark.parametrize(
    "frozen_at",
    [
        "call.before_sent=stop",
        "call.after_done=stop",
        "checkpoint.before=stop@1",
        "checkpoint.before=stop@2",
        "checkpoint.before=stop@3",
        "run.before_finish=stop",
    ],
)
@on_stage
async def test_a_thawed_process_starts_nothing(stage: Stage, frozen_at: str) -> None:
    zombie = await stage.run("steps", {"log": ["input"]}, failpoints=frozen_at)
    await zombie.frozen()
    run = await stage.resume()
    before, book = await rows(stage), await stage.counts()

    zombie.thaw()
    seen = await zombie.result()

    assert run["output"]["log"] == seen["output"]["log"] == ["input", "first", "second", "third"]
    assert await changed(stage, before) == []
    assert await stage.counts() == book == {"message": 3}


@on_stage
async def test_a_process_that_is_frozen_before_the_bytes_sends_none(stage: Stage) -> None:
    zombie = await stage.run("steps", {"log": []}, failpoints="call.after_sent=stop")
    await zombie.frozen()
    waiting = await stage.resume()
    await (await stage.answering(send(waiting["asks"][0]))).result()

    zombie.thaw()
    await zombie.result()

    assert await stage.counts() == {"message": 3}


@on_stage
async def test_an_answer_that_comes_to_a_zombie_is_recorded(stage: Stage) -> None:
    """Observations are not fenced: what a person was asked about is known after all."""
    zombie = await stage.run("steps", {"log": []}, failpoints="call.after_answer=stop")
    await zombie.frozen()
    (ask,) = (await stage.resume())["asks"]

    zombie.thaw()
    await zombie.result()
    run = await stage.answer(ask, "send")

    assert run["output"]["log"] == ["first", "second", "third"]
    assert await stage.counts() == {"message": 3}


@pytest.mark.parametrize("frozen_at", ["call.before_sent=stop@2", "call.after_sent=stop@2"])
@on_stage
async def test_a_process_that_was_frozen_and_not_missed_goes_on(stage: Stage, frozen_at: str) -> None:
    """Nobody has taken over: its run must not be left lying."""
    process = await stage.run("steps", {"log": []}, failpoints=frozen_at)
    await process.frozen()
    await stage.lease_is_out()

    process.thaw()
    run = await process.result()

    assert run["output"]["log"] == ["first", "second", "third"]
    assert await stage.counts() == {"message": 3}


@pytest.mark.parametrize("fence", ["fence=on", "fence=off"])
@on_stage
async def test_the_fence_alone_keeps_a_zombie_from_writing(stage: Stage, fence: str) -> None:
    """With the lease off it is the fence that holds; the control: with both off, the zombie writes."""
    zombie = await stage.run("steps", {"log": ["input"]}, failpoints=f"lease=off,{fence},checkpoint.before=stop@3")
    await zombie.frozen()
    await stage.resume()
    before, book = await rows(stage), await stage.counts()

    zombie.thaw()
    await zombie.result()

    if fence == "fence=on":
        assert await changed(stage, before) == []
        assert await stage.counts() == book
    else:
        assert "langgraph.checkpoints" in await changed(stage, before)


@on_stage
async def test_without_the_lease_a_zombie_sends(stage: Stage) -> None:
    """The control: were the last look at the lease not there, the message would be sent twice."""
    zombie = await stage.run("act", {"do": "AskPerson"}, failpoints="lease=off,call.after_sent=stop")
    await zombie.frozen()
    waiting = await stage.resume()
    await (await stage.answering(send(waiting["asks"][0]))).result()

    zombie.thaw()
    await zombie.result()

    assert await stage.counts() == {"message": 2}


@on_stage
async def test_without_the_journal_a_message_is_sent_twice(stage: Stage) -> None:
    """The control: were the journal not there, a kill after the answer would double the message."""
    victim = await stage.run("act", {"do": "AskPerson"}, failpoints="journal=off,call.after_done=kill")
    await victim.died()

    run = await (await stage.successor(failpoints="journal=off")).result()

    assert run["asks"] == []
    assert await stage.counts() == {"message": 2}
