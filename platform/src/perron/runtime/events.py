"""The event log of runs: one writer for each execution."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout

from perron import clock, failpoints
from perron.database.checkpoint_pool import CheckpointPool
from perron.database.encoding import dumps, loads
from perron.database.outage import is_outage, was_cancelled
from perron.errors import LeaseLostError
from perron.ids import RunId
from perron.repositories.run_event import APPEND
from perron.runtime.readers import Readers

FENCED = "PN001"
"""The SQLSTATE with which the database refuses a worker that has lost its run."""
LAST_EVENT = "end"
STEP_EVENT = "step"
"""Our own event: a node started or ended; never on the wire."""
ATTEMPT_EVENT = "metadata"
"""The first event of each attempt at a run."""

_BATCH = 500
_RETRY_S = 0.5
_VOLATILE_S = 1.0
"""How long a server may lose what it has committed: three times `wal_writer_delay`, which is 0.2 s, and more."""
_REMEMBERED_CHARS = 4_000_000
"""Of such events a process remembers no more: after a crash, what streams faster may have a gap, and says so."""


@dataclass(frozen=True, slots=True)
class _Entry:
    writer: EventWriter
    n: int
    event: str
    namespace: str
    payload: str


class EventLog:
    """Appends the events of all runs of a process: all that is pending in one statement while the one before is
    in flight.

    No timers: alone an event goes at once, under load they go in batches.
    """

    def __init__(self, pool: CheckpointPool, readers: Readers, *, schema: str) -> None:
        self._pool = pool
        self._readers = readers
        self._statement = APPEND.format(schema=schema)
        self._pending: list[_Entry] = []
        self._in_flight: list[_Entry] = []
        self._task: asyncio.Task[None] | None = None
        self._landed = asyncio.Event()
        self._newest: deque[tuple[float, _Entry]] = deque()
        """What has landed lately, and when: events are committed without waiting for the disk."""
        self._newest_chars = 0
        self._known: WeakSet[AsyncConnection[DictRow]] = WeakSet()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Borrow a connection behind which the server has all that has landed.

        A server that crashes takes all connections along, and may lose what it has just been given: that is sent
        once more over each that is new.
        """
        async with self._pool.connection() as connection:
            if connection not in self._known:
                if newest := [entry for _, entry in self._newest]:
                    await connection.execute(self._statement, _columns(newest))
                self._known.add(connection)
            yield connection

    def writer(self, run_id: RunId, epoch: int) -> EventWriter:
        """Return the writer of one execution of a run."""
        return EventWriter(self, run_id, epoch)

    def push(self, entry: _Entry) -> None:
        """Take an event, and see that it is appended."""
        self._pending.append(entry)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._append(), name="perron-events")

    async def close(self) -> None:
        """Give up what could not be appended: the database is away, and nobody here waits for it any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def withdraw(self, writer: EventWriter) -> list[_Entry]:
        """Take back what of this writer has not left yet."""
        mine = [entry for entry in self._pending if entry.writer is writer]
        self._pending = [entry for entry in self._pending if entry.writer is not writer]
        return mine

    async def landed(self, writer: EventWriter) -> None:
        """Wait until nothing of this writer is in flight."""
        while any(entry.writer is writer for entry in self._in_flight):
            await self._landed.wait()

    async def _append(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
            # Behind an event that could not be appended none may be: readers would find a gap.
            self._in_flight = [entry for entry in batch if entry.writer.failure is None]
            self._landed.clear()
            try:
                if self._in_flight:
                    await self._append_all(self._in_flight)
            finally:
                written, self._in_flight = self._in_flight, []
                self._landed.set()
            for entry in written:
                self._readers.wake(entry.writer.run_id)

    async def _append_all(self, entries: list[_Entry]) -> None:
        try:
            await self._send(entries)
        except Exception as exc:  # noqa: BLE001  # handed to the run, whose door logs it
            writers = {entry.writer for entry in entries}
            if len(writers) == 1:
                writers.pop().failure = exc
                return
            for writer in writers:  # one run's bad event is no matter of the others
                await self._append_all([entry for entry in entries if entry.writer is writer])

    async def _send(self, entries: list[_Entry]) -> None:
        failpoints.hit("event.before")
        while True:
            try:
                async with self.connection() as connection:
                    row = await (await connection.execute(self._statement, _columns(entries))).fetchone()
            except (psycopg.Error, PoolTimeout) as exc:
                if not is_outage(exc) or was_cancelled():
                    raise
                # The runs' checkpoints meet the same outage and decide on their fate; events wait for the outcome.
                await asyncio.sleep(_RETRY_S)
                continue
            lost = set(row["lost"]) if row else set()
            for entry in entries:
                if entry.writer.holder in lost:
                    entry.writer.failure = LeaseLostError(
                        "Another worker has this run.", run_id=str(entry.writer.run_id)
                    )
                else:
                    entry.writer.last_n = max(entry.writer.last_n, entry.n)
            self._remember(entries)
            return

    def _remember(self, entries: list[_Entry]) -> None:
        now = clock.boot_s()
        self._newest.extend((now, entry) for entry in entries)
        self._newest_chars += sum(len(entry.payload) for entry in entries)
        while self._newest and (self._newest[0][0] < now - _VOLATILE_S or self._newest_chars > _REMEMBERED_CHARS):
            self._newest_chars -= len(self._newest.popleft()[1].payload)


def _columns(entries: list[_Entry]) -> tuple[list[Any], ...]:
    return (
        [entry.writer.run_id for entry in entries],
        [entry.writer.epoch for entry in entries],
        [entry.n for entry in entries],
        [entry.event for entry in entries],
        [entry.namespace for entry in entries],
        [entry.payload for entry in entries],
    )


class EventWriter:
    """The events of one execution of a run, in order and without gaps."""

    def __init__(self, log: EventLog, run_id: RunId, epoch: int) -> None:
        self.run_id = run_id
        self.epoch = epoch
        self.last_n = 0
        """Number of the last event that stands in the database."""
        self.failure: BaseException | None = None
        """What an append met; the run cannot go on."""
        self._log = log
        self._n = 0

    @property
    def holder(self) -> str:
        """The execution that writes: a run, and the epoch under which it was claimed."""
        return f"{self.run_id}/{self.epoch}"

    def write(self, event: str, payload: Any, *, namespace: str = "") -> None:
        """Take an event; raises what an earlier append met."""
        if self.failure is not None:
            raise self.failure
        self._n += 1
        self._log.push(_Entry(self, self._n, event, namespace, dumps(payload)))

    async def close(self) -> list[tuple[str, str, Any]]:
        """Return what has not been appended yet, as (event, namespace, payload): it goes with the run's end."""
        rest = self._log.withdraw(self)
        await self._log.landed(self)
        if self.failure is not None:
            raise self.failure
        return [(entry.event, entry.namespace, loads(entry.payload)) for entry in rest]
