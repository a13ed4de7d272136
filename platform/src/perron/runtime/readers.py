"""Readers of runs, and how writers wake them: in this process at once, in others by NOTIFY."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
from psycopg_pool import PoolTimeout

from perron.database.checkpoint_pool import CheckpointPool
from perron.database.listening import keep_connected
from perron.database.url import DatabaseUrl
from perron.errors import DatabaseUnavailableError
from perron.ids import new_id

_PAUSE_S = 0.01
"""Between two notifications of one process: commits that notify queue up behind each other in the server."""
_MOST = 150
"""Run ids in one notification, whose payload is limited to 8,000 bytes."""
_ENDED = "."
"""Behind the id of a run that has ended."""
_REMEMBERED = 200

_KEEP_ALIVE = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
"""A machine that loses its power says no goodbye: the server is to notice, and let go of the lock."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A reader that is to be missed when it goes."""

    reader_id: UUID
    process_key: int
    """The advisory lock that its process holds as long as it lives, on the connection that hears of runs."""


class Readers:
    """Who waits for something new of a run. A wake-up may be lost: readers look now and then besides."""

    def __init__(self, announcer: Announcer | None = None) -> None:
        """Take what reaches other processes; without, only this one's readers are woken."""
        self._waiting: dict[UUID, dict[asyncio.Event, bool]] = defaultdict(dict)
        """By run: what is set, and whether only for the run's end."""
        self._ended: deque[UUID] = deque(maxlen=_REMEMBERED)
        """Runs that have ended lately."""
        self._announcer = announcer
        if announcer is not None:
            announcer.readers = self

    def listen(self) -> bool:
        """Hear of runs that other processes execute, from now on; say whether that works already."""
        return self._announcer is not None and self._announcer.listen()

    async def presence(self, *, timeout_s: float) -> Presence:
        """Return a reader of this process, whom others miss from the moment that the process is gone.

        Raises:
            DatabaseUnavailableError: Nobody can be told that this process is there.
        """
        if self._announcer is None:
            raise DatabaseUnavailableError("This process does not hear of runs.")
        return Presence(new_id(), await self._announcer.be_present(timeout_s=timeout_s))

    def wake(self, run_id: UUID, *, has_ended: bool = False) -> None:
        """Wake all who wait for this run, wherever they are."""
        self.wake_here(run_id, has_ended=has_ended)
        if self._announcer is not None:
            self._announcer.announce(run_id, has_ended=has_ended)

    def wake_here(self, run_id: UUID, *, has_ended: bool) -> None:
        """Wake those in this process, and those who begin to wait a moment too late."""
        if has_ended:
            self._ended.append(run_id)
        for event, only_for_end in self._waiting.get(run_id, {}).items():
            if has_ended or not only_for_end:
                event.set()

    def wake_all_here(self) -> None:
        """Wake all in this process: news may have been missed."""
        for waiting in self._waiting.values():
            for event in waiting:
                event.set()

    @contextmanager
    def waiting(self, run_id: UUID, *, only_for_end: bool = False) -> Iterator[asyncio.Event]:
        """Wait for a run: yields what is set when there may be something new, or when it has ended."""
        event = asyncio.Event()
        if run_id in self._ended:
            event.set()
        self._waiting[run_id][event] = only_for_end
        try:
            yield event
        finally:
            del self._waiting[run_id][event]
            if not self._waiting[run_id]:
                del self._waiting[run_id]


class Announcer:
    """Tells other processes which runs have something new, and hears it from them."""

    readers: Readers

    def __init__(self, pool: CheckpointPool, url: DatabaseUrl, *, schema: str, application_name: str) -> None:
        """Prepare; `url` leads past a transaction pooler."""
        self._pool = pool
        self._url = url
        self._channel = f"{schema}_events"
        self._application_name = application_name
        me = new_id()
        self._me = me.hex
        self._process_key = me.int & 0x3FFF_FFFF_FFFF_FFFF  # the random half of a uuid7
        self._news: dict[UUID, bool] = {}
        """Runs to tell of, and whether they have ended."""
        self._sender: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._hears = asyncio.Event()

    def announce(self, run_id: UUID, *, has_ended: bool) -> None:
        """Tell of a run soon, together with others."""
        self._news[run_id] = has_ended or self._news.get(run_id, False)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send(), name="perron-announce")

    def listen(self) -> bool:
        """Begin to hear, at the first reader; say whether it does."""
        if self._listener is None:
            connected = keep_connected(
                self._url, self._hear, application_name=self._application_name, what="news of runs"
            )
            self._listener = asyncio.create_task(connected, name="perron-hear")
        return self._hears.is_set()

    async def be_present(self, *, timeout_s: float) -> int:
        """Wait until others can see that this process lives, and return the key of the lock by which they do.

        Raises:
            DatabaseUnavailableError: The connection for that did not come about in time.
        """
        self.listen()
        if not self._hears.is_set() and not await rings(self._hears, timeout_s):
            raise DatabaseUnavailableError(
                f"The database gave no connection to hear of runs within {timeout_s:g} s: see the log."
            )
        return self._process_key

    async def close(self) -> None:
        """Hear no more, and send what is left."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        if self._sender is not None:
            await asyncio.wait([self._sender])

    async def _send(self) -> None:
        while self._news:
            told = [self._news.popitem() for _ in range(min(len(self._news), _MOST))]
            payload = " ".join([self._me, *(run_id.hex + _ENDED * has_ended for run_id, has_ended in told)])
            try:
                async with self._pool.connection() as connection:
                    await connection.execute("SELECT pg_notify(%s, %s)", (self._channel, payload))
            except (psycopg.Error, PoolTimeout):
                return  # readers look besides
            await asyncio.sleep(_PAUSE_S)

    async def _hear(self, connection: asyncpg.Connection[Any]) -> None:
        is_lost = asyncio.Event()
        connection.add_termination_listener(lambda _: is_lost.set())
        await connection.execute(_KEEP_ALIVE)
        await connection.execute("SELECT pg_advisory_lock_shared($1)", self._process_key)
        await connection.add_listener(self._channel, self._heard)
        self._hears.set()
        self.readers.wake_all_here()
        try:
            await is_lost.wait()
        finally:
            self._hears.clear()

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        sender, *news = str(payload).split()
        if sender != self._me:
            for run in news:
                self.readers.wake_here(UUID(run.rstrip(_ENDED)), has_ended=run.endswith(_ENDED))


async def rings(bell: asyncio.Event, timeout_s: float) -> bool:
    """Wait for a bell; False when it did not ring in time.

    Not `asyncio.wait_for`: in Python 3.11 it forgets that it was cancelled when the bell rings at that moment.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await bell.wait()
    except TimeoutError:
        return False
