"""Threads, runs and workers as rows, for tests of the parts that act on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from perron import clock
from perron.database.checkpoint_pool import CheckpointPool, open_checkpoint_pool
from perron.database.engine import Database
from perron.ids import RunId, ThreadId, WorkerId, new_id
from perron.models.run import Run
from perron.models.thread import Thread
from perron.models.worker import Worker
from perron.runtime.checkpoint_log import CheckpointLog
from perron.runtime.checkpointer import FencedSaver, RunFence
from perron.runtime.claim import ClaimedRun, claim


class Rows:
    """One database with LangGraph's pool on it, and rows in it."""

    def __init__(self, database: Database, pool: CheckpointPool) -> None:
        self.database = database
        self.pool = pool
        self.log: CheckpointLog | None = None
        """Commits what savers of runs write, together; without it each has a pipeline of its own."""

    async def make_thread(self, **columns: Any) -> ThreadId:
        thread_id = ThreadId(new_id())
        async with self.database.begin() as session:
            session.add(Thread(thread_id=thread_id, **columns))
        return thread_id

    async def make_run(self, thread_id: ThreadId | None = None, **columns: Any) -> RunId:
        """Make a run that waits at the end of its thread's line, or what `columns` say."""
        run_id = RunId(new_id())
        thread_id = thread_id or await self.make_thread()
        async with self.database.begin() as session:
            newest = await session.scalar(select(func.max(Run.seq)).where(Run.thread_id == thread_id))
            values = {"graph_id": "agent", "seq": (newest or 0) + 1, "kwargs": {}, "metadata_": {}, **columns}
            session.add(Run(run_id=run_id, thread_id=thread_id, **values))
        return run_id

    async def make_worker(self, *, beat_age_s: float = 0.0, lease_s: float = 10.0) -> WorkerId:
        """Make a worker whose last beat is that old."""
        worker_id = WorkerId(new_id())
        async with self.database.begin() as session:
            session.add(
                Worker(
                    worker_id=worker_id,
                    host="here",
                    pid=1,
                    version="0",
                    lease_s=lease_s,
                    beat_at=clock.now() - timedelta(seconds=beat_age_s),
                )
            )
        return worker_id

    async def get_run(self, run_id: RunId) -> Run:
        async with self.database.begin() as session:
            return await session.get_one(Run, run_id)

    async def claim(self, run_id: RunId, worker_id: WorkerId | None = None) -> ClaimedRun | None:
        """Claim a run for a worker, a new one by default."""
        run = await self.get_run(run_id)
        worker_id = worker_id or await self.make_worker()
        thread_id = ThreadId(run.thread_id)
        return await claim(self.database, run_id, thread_id, worker_id=worker_id)

    async def claimed(self, **columns: Any) -> ClaimedRun:
        """Make a run and claim it."""
        run = await self.claim(await self.make_run(**columns))
        assert run is not None
        return run

    async def claimed_again(self, run: ClaimedRun) -> ClaimedRun:
        """Let the worker of a run die and another one take it over."""
        async with self.database.begin() as session:
            worker = await session.get_one(Worker, run.worker_id)
            worker.beat_at = clock.now() - timedelta(hours=1)
        while (again := await self.claim(run.run_id)) is None:
            pass  # a claim does not wait long for a lock
        return again

    def fence(self, run: ClaimedRun) -> RunFence:
        return RunFence(
            run.run_id, run.epoch, thread_id=run.thread_id, schema="perron", input_applied=run.input_applied
        )

    def saver(self, run: ClaimedRun) -> FencedSaver:
        return FencedSaver(self.pool, self.fence(run), self.log)


async def put_checkpoint(rows: Rows, thread_id: ThreadId, checkpoint_id: str) -> None:
    """Insert the bare row of a step's checkpoint."""
    async with rows.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata)"
            """ VALUES (%s, %s, '{}', '{"source": "loop"}')""",
            [str(thread_id), checkpoint_id],
        )


async def waits_for_a_lock(rows: Rows, waiting: asyncio.Task[Any]) -> None:
    """Return when a connection of the database waits for another one's lock, or the task does not any more."""
    async with rows.pool.connection() as connection:
        while not waiting.done():
            cursor = await connection.execute(
                "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
            row = await cursor.fetchone()
            if row and row["n"]:
                return


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[Rows]:
    """A fresh database to put rows into."""
    database = Database(database_url, pool_size=2)
    pool = await open_checkpoint_pool(database_url, application_name="perron test")
    try:
        yield Rows(database, pool)
    finally:
        await pool.close()
        await database.close()
