"""The event log of a run: one writer appends, any number of readers follow."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from perron.caller import Caller
from perron.database.encoding import dumps
from perron.database.engine import Database
from perron.database.outage import is_outage, sqlstate
from perron.errors import LeaseLostError
from perron.ids import RunId
from perron.models.run_event import RunEvent
from perron.repositories.run_event import APPEND, RunEventRepository
from perron.runtime.checkpointer import Pool

FENCED = "PN001"
"""The SQLSTATE with which the database refuses a worker that has lost its run."""
LAST_EVENT = "end"

_BATCH = 500
_RETRY_S = 0.5


class Bells:
    """Wakes the readers in this process of what a writer in it has committed; a poll finds the rest."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, set[asyncio.Event]] = defaultdict(set)

    def ring(self, key: UUID) -> None:
        """Wake all who wait for this run."""
        for event in self._waiting.get(key, ()):
            event.set()

    @contextmanager
    def listen(self, key: UUID) -> Iterator[asyncio.Event]:
        """Take part in the rings for this run."""
        event = asyncio.Event()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]


class EventWriter:
    """Appends a run's events in order: all that is pending in one statement while the one before is in flight.

    No timers: alone an event goes at once, under load they go in batches.
    """

    def __init__(self, pool: Pool, bells: Bells, run_id: RunId, epoch: int, *, schema: str) -> None:
        self._pool = pool
        self._statement = APPEND.format(schema=schema)
        self._bells = bells
        self._run_id = run_id
        self._epoch = epoch
        self.last_n = 0
        """Number of the last event that stands in the database."""
        self._pending: list[tuple[str, str, Any]] = []
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    def write(self, event: str, payload: Any, *, namespace: str = "") -> None:
        """Take an event; raises what an earlier append met."""
        if self._failure is not None:
            raise self._failure
        self._pending.append((event, namespace, payload))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._append())

    async def flush(self) -> None:
        """Wait until all that was written stands in the database."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
        if self._failure is not None:
            raise self._failure

    async def _append(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
            try:
                await self._append_batch(batch)
            except Exception as exc:  # noqa: BLE001  # handed to the run, whose door logs it
                self._failure = exc
                return
            self.last_n += len(batch)
            self._bells.ring(self._run_id)

    async def _append_batch(self, batch: list[tuple[str, str, Any]]) -> None:
        events, namespaces, payloads = (list(column) for column in zip(*batch, strict=True))
        texts = [dumps(payload) for payload in payloads]
        arguments = (self._run_id, self._epoch, self.last_n + 1, events, namespaces, texts)
        while True:
            try:
                async with self._pool.connection() as connection:
                    await connection.execute(self._statement, arguments)
            except (psycopg.Error, PoolTimeout) as exc:
                if sqlstate(exc) == FENCED:
                    raise LeaseLostError("Another worker has this run.", run_id=str(self._run_id)) from exc
                if not is_outage(exc):
                    raise
            else:
                return
            # The run's checkpoints meet the same outage and decide on its fate; events wait for the outcome.
            await asyncio.sleep(_RETRY_S)


class EventReader:
    """Follows the events of runs."""

    def __init__(self, database: Database, bells: Bells, *, poll_s: float) -> None:
        self._database = database
        self._bells = bells
        self._poll_s = poll_s

    async def follow(
        self, caller: Caller, run_id: RunId, *, after: tuple[int, int] = (0, 0)
    ) -> AsyncIterator[RunEvent]:
        """Yield the run's events after (epoch, n), the last one being `end`."""
        with self._bells.listen(run_id) as rung:
            while True:
                rung.clear()
                async with self._database.begin() as session:
                    epoch, n = after
                    rows = await RunEventRepository(session, caller).get_after(
                        run_id, epoch=epoch, n=n, limit=_BATCH
                    )
                for row in rows:
                    after = (row.epoch, row.n)
                    yield row
                    if row.event == LAST_EVENT:
                        return
                if not rows:
                    try:
                        await asyncio.wait_for(rung.wait(), self._poll_s)
                    except TimeoutError:
                        continue
