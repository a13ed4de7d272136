"""What a worker may write, and what a zombie may not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from psycopg import AsyncCursor
from psycopg.rows import DictRow
from sqlalchemy import select
from tests.runtime.conftest import Rows, waits_for_a_lock

from perron.errors import LeaseLostError
from perron.ids import ThreadId, new_id
from perron.models.call import Call
from perron.runtime.checkpoint_log import CheckpointLog
from perron.runtime.checkpointer import FencedSaver, RunFence, ThreadFence, sort_after

REFUSED = r"Another worker|not running under"


@pytest.fixture(params=[True, False], ids=["together", "alone"], autouse=True)
def _log(request: pytest.FixtureRequest, rows: Rows) -> None:
    """Write as the runs of a platform do, and as a saver of its own."""
    rows.log = CheckpointLog(rows.pool, schema="perron") if request.param else None


def config_of(thread_id: ThreadId, checkpoint: Checkpoint | None = None) -> RunnableConfig:
    configurable = {"thread_id": str(thread_id), "checkpoint_ns": ""}
    if checkpoint is not None:
        configurable["checkpoint_id"] = checkpoint["id"]
    return {"configurable": configurable}


def checkpoint_of(values: dict[str, Any] | None = None) -> Checkpoint:
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = dict(values or {})
    checkpoint["channel_versions"] = dict.fromkeys(values or {}, 1)
    return checkpoint


async def put(saver: FencedSaver, thread_id: ThreadId, values: dict[str, Any] | None = None) -> Checkpoint:
    checkpoint = checkpoint_of(values)
    await saver.aput(config_of(thread_id), checkpoint, {"source": "loop"}, checkpoint["channel_versions"])
    return checkpoint


async def test_the_saver_conforms(rows: Rows) -> None:
    run = await rows.claimed()

    @checkpointer_test(name="FencedSaver")
    async def saver() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        yield rows.saver(run)

    report = await validate(saver)

    failures = {name: result.failures for name, result in report.results.items() if result.failures}
    assert report.passed_all_base(), failures
    assert not failures


async def test_a_run_that_was_claimed_again_writes_nothing(rows: Rows) -> None:
    run = await rows.claimed()
    zombie = rows.saver(run)
    before = await put(zombie, run.thread_id)
    await rows.claimed_again(run)

    with pytest.raises((psycopg.ProgrammingError, LeaseLostError), match=REFUSED):
        await put(zombie, run.thread_id, {"n": [1]})
    with pytest.raises((psycopg.ProgrammingError, LeaseLostError), match=REFUSED):
        await zombie.aput_writes(config_of(run.thread_id, before), [("n", 1)], "task")

    async with rows.pool.connection() as connection:
        kept = await (
            await connection.execute(
                "SELECT (SELECT count(*) FROM checkpoints) AS checkpoints, (SELECT count(*) FROM checkpoint_blobs)"
                " AS blobs, (SELECT count(*) FROM checkpoint_writes) AS writes"
            )
        ).fetchone()
    assert kept == {"checkpoints": 1, "blobs": 0, "writes": 0}


async def test_a_thread_without_checkpoints_is_read_only_after_a_write(rows: Rows) -> None:
    run = await rows.claimed()
    empty = RunFence(
        run.run_id, run.epoch, thread_id=run.thread_id, schema="perron", input_applied=False, is_empty=True
    )
    saver = FencedSaver(rows.pool, empty, rows.log)
    unseen = await put(rows.saver(run), run.thread_id)  # what only a look into the database can find

    assert await saver.aget_tuple(config_of(run.thread_id)) is None
    found = await saver.aget_tuple(config_of(run.thread_id, unseen))
    assert found is not None
    written = await put(saver, run.thread_id)
    found = await saver.aget_tuple(config_of(run.thread_id))

    assert found is not None
    assert found.checkpoint["id"] == written["id"]


async def test_a_zombie_beside_its_successor_in_one_process_writes_nothing(rows: Rows) -> None:
    run = await rows.claimed()
    again = await rows.claimed_again(run)
    zombie, live = rows.saver(run), rows.saver(again)

    results = await asyncio.gather(
        put(zombie, run.thread_id), put(live, run.thread_id), put(live, run.thread_id), return_exceptions=True
    )

    assert isinstance(results[0], (psycopg.ProgrammingError, LeaseLostError))
    written = {result["id"] for result in results[1:] if not isinstance(result, BaseException)}
    assert len(written) == 2
    assert {found.checkpoint["id"] async for found in live.alist(config_of(run.thread_id))} == written


async def test_a_zombie_in_one_batch_with_its_successor_writes_nothing(rows: Rows) -> None:
    run = await rows.claimed()
    again = await rows.claimed_again(run)
    zombie, live = rows.saver(run), rows.saver(again)

    # The first two are on their way when the others come, which then go in one statement.
    results = await asyncio.gather(
        *(put(saver, run.thread_id) for saver in (live, live, zombie, live)), return_exceptions=True
    )

    lost = results.pop(2)
    assert isinstance(lost, (psycopg.ProgrammingError, LeaseLostError))
    written = {result["id"] for result in results if not isinstance(result, BaseException)}
    assert {found.checkpoint["id"] async for found in live.alist(config_of(run.thread_id))} == written
    assert len(written) == 3


async def test_only_who_has_the_run_clears_the_answers_that_a_checkpoint_makes_needless(rows: Rows) -> None:
    run = await rows.claimed()
    again = await rows.claimed_again(run)
    zombie, live = rows.saver(run), rows.saver(again)
    async with rows.database.begin() as session:
        session.add(
            Call(
                call_id=new_id(), thread_id=run.thread_id, run_id=run.run_id, task_id="task", slot="#1",
                operation="desk.refund", fingerprint=b"f", effect="create", repeat="SameKey", state="done",
                sealed=b"sealed",
            )
        )  # fmt: skip
    for saver in (zombie, live):
        assert isinstance(saver.fence, RunFence)
        saver.fence.clears_all = True

    with pytest.raises((psycopg.ProgrammingError, LeaseLostError)):
        await put(zombie, run.thread_id)
    assert await sealed(rows) == [b"sealed"]

    await put(live, run.thread_id)
    assert await sealed(rows) == [None]


async def sealed(rows: Rows) -> list[bytes | None]:
    async with rows.database.begin() as session:
        return list((await session.execute(select(Call.sealed))).scalars())


async def test_what_one_run_cannot_write_fails_no_other(rows: Rows) -> None:
    runs = [await rows.claimed() for _ in range(3)]
    savers = [rows.saver(run) for run in runs]
    unfit = {**checkpoint_of(), "id": None}

    results = await asyncio.gather(
        put(savers[0], runs[0].thread_id),
        savers[1].aput(config_of(runs[1].thread_id), unfit, {"source": "loop"}, {}),  # type: ignore[arg-type]  # on purpose
        put(savers[2], runs[2].thread_id),
        return_exceptions=True,
    )

    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert [(await rows.get_run(run.run_id)).input_applied for run in runs] == [True, False, True]


async def test_the_first_pipeline_notes_that_the_input_stands(rows: Rows) -> None:
    by_checkpoint, by_writes = await rows.claimed(), await rows.claimed()

    await put(rows.saver(by_checkpoint), by_checkpoint.thread_id)
    await rows.saver(by_writes).aput_writes(config_of(by_writes.thread_id, checkpoint_of()), [("n", 1)], "task")

    assert (await rows.get_run(by_checkpoint.run_id)).input_applied
    assert (await rows.get_run(by_writes.run_id)).input_applied


async def test_a_pipeline_that_fails_leaves_the_input_to_be_applied(rows: Rows) -> None:
    run = await rows.claimed()
    saver = rows.saver(run)
    twice = checkpoint_of()

    with pytest.raises(psycopg.Error):
        await saver.aput(config_of(run.thread_id), {**twice, "id": None}, {"source": "loop"}, {})  # type: ignore[typeddict-item]  # refused by PostgreSQL

    assert not (await rows.get_run(run.run_id)).input_applied
    await saver.aput(config_of(run.thread_id), twice, {"source": "loop"}, {})
    assert (await rows.get_run(run.run_id)).input_applied


class SlowSaver(FencedSaver):
    """Stays in a pipeline until it is let go: a worker that is stopped inside a large checkpoint."""

    inside: asyncio.Event
    go_on: asyncio.Event

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        async with super()._cursor(pipeline=pipeline) as cursor:
            if pipeline:
                await cursor.execute("SELECT 1")
                await cursor.fetchone()  # the fence's lock is held from here on
                self.inside.set()
                await self.go_on.wait()
            yield cursor


async def test_a_claim_waits_for_a_checkpoint_under_way(rows: Rows) -> None:
    run = await rows.claimed()
    saver = SlowSaver(rows.pool, rows.fence(run))
    saver.inside, saver.go_on = asyncio.Event(), asyncio.Event()

    writing = asyncio.create_task(put(saver, run.thread_id))
    await saver.inside.wait()
    claiming = asyncio.create_task(rows.claimed_again(run))
    await waits_for_a_lock(rows, claiming)
    saver.go_on.set()
    checkpoint = await writing
    again = await claiming

    assert again.epoch == run.epoch + 1
    assert again.input_applied
    found = await rows.saver(again).aget_tuple(config_of(run.thread_id))
    assert found is not None
    assert found.checkpoint["id"] == checkpoint["id"]


async def test_parallel_first_pipelines_of_one_run_all_commit(rows: Rows) -> None:
    run = await rows.claimed()
    saver = rows.saver(run)
    checkpoint = checkpoint_of()

    await asyncio.gather(
        *(saver.aput_writes(config_of(run.thread_id, checkpoint), [("n", i)], f"task-{i}") for i in range(6))
    )

    async with rows.pool.connection() as connection:
        row = await (await connection.execute("SELECT count(*) AS n FROM checkpoint_writes")).fetchone()
    assert row == {"n": 6}


async def test_the_next_checkpoint_of_a_fast_clocks_thread_is_newest(rows: Rows) -> None:
    run = await rows.claimed()
    saver = rows.saver(run)
    ahead = checkpoint_of({"n": 1})
    ahead["id"] = ahead_of_now(s=30)
    await saver.aput(config_of(run.thread_id), ahead, {"source": "loop"}, {})

    found = await saver.aget_tuple(config_of(run.thread_id))
    following = await put(saver, run.thread_id, {"n": 2})

    assert found is not None
    assert following["id"] > ahead["id"]
    newest = await saver.aget_tuple(config_of(run.thread_id))
    assert newest is not None
    assert newest.checkpoint["channel_values"] == {"n": 2}


def ahead_of_now(*, s: float) -> str:
    """Return a checkpoint id as a clock that is `s` seconds fast makes it."""
    timestamp = time.time_ns() // 100 + 0x01B21DD213814000 + round(s * 10_000_000)
    value = (timestamp >> 12) << 80 | 6 << 76 | (timestamp & 0xFFF) << 64 | 2 << 62 | 1
    return str(type(uuid6())(int=value))


def test_an_older_checkpoint_does_not_turn_the_clock_back() -> None:
    newest = str(uuid6())

    sort_after(ahead_of_now(s=-3600))

    assert str(uuid6()) > newest


@pytest.mark.parametrize("text", ["nul \x00", "half a pair \ud800"])
async def test_a_text_that_postgresql_refuses_is_replaced_not_fatal(rows: Rows, text: str) -> None:
    run = await rows.claimed()
    saver = rows.saver(run)

    await put(saver, run.thread_id, {"text": text, "number": float("nan"), "many": [text]})

    found = await saver.aget_tuple(config_of(run.thread_id))
    assert found is not None
    assert found.checkpoint["channel_values"]["text"] == text[:-1] + "\ufffd"
    assert found.checkpoint["channel_values"]["number"] is None


async def test_nobody_writes_to_a_thread_that_has_a_run(rows: Rows) -> None:
    thread_id = await rows.make_thread()
    saver = FencedSaver(rows.pool, ThreadFence(thread_id, None, schema="perron", langgraph_schema="langgraph"))
    first = await put(saver, thread_id)

    run_id = await rows.make_run(thread_id)
    with pytest.raises(psycopg.Error) as busy:
        await put(saver, thread_id)

    assert busy.value.sqlstate == "PN002"
    assert first["id"]
    assert not (await rows.get_run(run_id)).input_applied


async def test_nobody_writes_to_a_thread_that_has_moved(rows: Rows) -> None:
    thread_id = await rows.make_thread()
    one = FencedSaver(rows.pool, ThreadFence(thread_id, None, schema="perron", langgraph_schema="langgraph"))
    other = FencedSaver(rows.pool, ThreadFence(thread_id, None, schema="perron", langgraph_schema="langgraph"))

    await put(one, thread_id)
    await put(one, thread_id)
    with pytest.raises(psycopg.Error) as moved:
        await put(other, thread_id)

    assert moved.value.sqlstate == "PN003"
