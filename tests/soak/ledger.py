"""The ledger: what nodes really did and when, in a database that no fault touches, by that database's clock."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

URL_VARIABLE = "SOAK_LEDGER_URL"
WORKER_VARIABLE = "SOAK_WORKER"
"""The number of the process: pids are given out again."""

_TABLES = """
    CREATE TABLE entries (
        entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, thread_id uuid NOT NULL, run_id uuid NOT NULL,
        node text NOT NULL, worker int NOT NULL,
        begun_at timestamptz NOT NULL DEFAULT clock_timestamp(), ended_at timestamptz
    );
    CREATE INDEX ON entries (run_id, begun_at);
    CREATE INDEX ON entries (worker) WHERE ended_at IS NULL;
    CREATE TABLE troubles (worker int NOT NULL, kind text NOT NULL, at timestamptz DEFAULT clock_timestamp());
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One start of a node."""

    thread_id: UUID
    run_id: UUID
    node: str
    worker: int
    begun_at: datetime
    ended_at: datetime
    """When it was over, or its process was killed or frozen in it; `begun_at` where nobody knows."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker was killed, with runs in its hand."""

    at: datetime
    worker: int
    run_ids: list[UUID]


class Pen:
    """With which the nodes of one process write. Its connection is made at the first line.

    It blocks for that moment: a node that is cancelled while it writes would leave an entry that never ends.
    """

    def __init__(self) -> None:
        self._connection: psycopg.Connection | None = None

    def begin(self, thread_id: str, run_id: str, node: str) -> int:
        """Write that a node begins, and return the entry's id."""
        if self._connection is None:
            self._connection = psycopg.Connection.connect(os.environ[URL_VARIABLE], autocommit=True)
        row = self._connection.execute(
            "INSERT INTO entries (thread_id, run_id, node, worker) VALUES (%s, %s, %s, %s) RETURNING entry_id",
            (thread_id, run_id, node, int(os.environ[WORKER_VARIABLE])),
        ).fetchone()
        assert row is not None
        return int(row[0])

    def end(self, entry_id: int) -> None:
        """Write that it has ended."""
        assert self._connection is not None
        self._connection.execute(
            "UPDATE entries SET ended_at = clock_timestamp() WHERE entry_id = %s", (entry_id,)
        )


class Ledger:
    """The ledger as the soak reads it, and where it writes down what it did to workers."""

    def __init__(self, url: str, pool: AsyncConnectionPool) -> None:
        self.url = url
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Ledger]:
        """Make the tables in an empty database."""
        kwargs = {"autocommit": True}
        async with AsyncConnectionPool(url, min_size=1, max_size=4, kwargs=kwargs, open=False) as pool:
            async with pool.connection() as connection:
                await connection.execute(_TABLES)
            yield cls(url, pool)

    async def count(self) -> int:
        """Return how many nodes have begun."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT count(*) FROM entries")).fetchone()
            return int(row[0]) if row else 0

    async def note(self, worker: int, kind: str) -> datetime:
        """Write down what is done to a worker in the next moment, and return the time."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO troubles (worker, kind) VALUES (%s, %s) RETURNING at", (worker, kind)
            )
            row = await cursor.fetchone()
            assert row is not None
            at: datetime = row[0]
            return at

    async def in_hand(self, worker: int) -> list[UUID]:
        """Return the runs whose nodes a worker has begun and not ended."""
        async with self._pool.connection() as connection:
            query = "SELECT DISTINCT run_id FROM entries WHERE worker = %s AND ended_at IS NULL"
            return [row[0] for row in await (await connection.execute(query, (worker,))).fetchall()]

    async def has_ended(self, run_id: UUID, node: str) -> bool:
        """Whether a node of a run has come to its end."""
        async with self._pool.connection() as connection:
            query = "SELECT 1 FROM entries WHERE run_id = %s AND node = %s AND ended_at IS NOT NULL"
            return await (await connection.execute(query, (run_id, node))).fetchone() is not None

    async def writer_of(self, run_id: UUID) -> int:
        """Return the number of the worker that wrote last of a run."""
        async with self._pool.connection() as connection:
            query = "SELECT worker FROM entries WHERE run_id = %s ORDER BY begun_at DESC LIMIT 1"
            row = await (await connection.execute(query, (run_id,))).fetchone()
            assert row is not None
            return int(row[0])

    async def next_begin(self, run_id: UUID, kill: Kill, *, has_ended: bool = False) -> datetime | None:
        """Return when another worker first began a node of a run after a kill; `has_ended`: one that has ended."""
        query = "SELECT min(begun_at) FROM entries WHERE run_id = %s AND begun_at > %s AND worker <> %s"
        if has_ended:
            query += " AND ended_at IS NOT NULL"
        async with self._pool.connection() as connection:
            row = await (await connection.execute(query, (run_id, kill.at, kill.worker))).fetchone()
            begun_at: datetime | None = row[0] if row else None
            return begun_at

    async def entries(self) -> Sequence[Entry]:
        """Return all entries in the order of their beginning."""
        query = """
            SELECT thread_id, run_id, node, worker, begun_at, coalesce(least(ended_at, (
                SELECT min(at) FROM troubles t WHERE t.worker = e.worker AND t.at > e.begun_at
            )), begun_at) AS ended_at
            FROM entries e ORDER BY begun_at, entry_id
        """
        async with self._pool.connection() as connection:
            cursor = await connection.cursor(row_factory=class_row(Entry)).execute(query)
            return await cursor.fetchall()
