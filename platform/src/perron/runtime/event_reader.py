"""`EventReader`: follows the events of runs, wherever those execute."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from perron import clock
from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import EventsGoneError, InvalidInputError
from perron.ids import RunId
from perron.models.run import ACTIVE
from perron.models.run_event import RunEvent
from perron.repositories.run import RunRepository
from perron.repositories.run_event import RunEventRepository
from perron.runtime.events import LAST_EVENT, STEP_EVENT
from perron.runtime.packing import Position, StreamEvent, unpack
from perron.runtime.readers import Readers
from perron.runtime.tail import Tail

START: Position = (0, 0)
_STATE_EVENT = "values"

ReadState = Callable[[StreamEvent], Coroutine[Any, Any, Any]]
"""Reads what a `values` event stands for."""


class EventReader:
    """Any number of followers of any runs; those of one run share what is read of it."""

    def __init__(self, database: Database, readers: Readers, *, poll_s: float) -> None:
        self._database = database
        self._readers = readers
        self._poll_s = poll_s
        self._tails: dict[tuple[Caller, RunId], Tail] = {}

    async def follow(
        self,
        caller: Caller,
        run_id: RunId,
        *,
        after: Position = START,
        heartbeat_s: float | None = None,
        read_state: ReadState | None = None,
    ) -> AsyncGenerator[StreamEvent | None, None]:
        """Yield what the run has streamed behind a position, the last being `end`; followers share the payloads.

        Args:
            heartbeat_s: Yield None when nothing has come for so long.
            read_state: Puts the state into `values` events; without, they keep a checkpoint's id.

        Raises:
            DatabaseUnavailableError: The database was away for long.
            EventsGoneError: What comes next is not there any more.
        """
        self._readers.listen()
        async with self._tail(caller, run_id) as tail:
            quiet_since = clock.boot_s()
            while True:
                patience_s = None if heartbeat_s is None else quiet_since + heartbeat_s - clock.boot_s()
                try:
                    rows = await tail.behind(after, timeout_s=patience_s)
                except TimeoutError:
                    yield None
                    quiet_since = clock.boot_s()
                    continue
                for event in _streamed(rows, after):
                    if event.event == _STATE_EVENT and read_state is not None:
                        state = await tail.state(event.position, partial(read_state, event))
                        yield replace(event, payload=state)
                    else:
                        yield event
                    quiet_since = clock.boot_s()
                if not rows or rows[-1].event == LAST_EVENT:
                    return
                after = (rows[-1].epoch, rows[-1].n)

    async def check(self, caller: Caller, run_id: RunId, position: Position) -> None:
        """Refuse a position at which the run has no event so far.

        Raises:
            EventsGoneError: It has ended, and none is kept.
            InvalidInputError: There is none yet.
        """
        async with self._database.begin() as session:
            last = await RunEventRepository(session, caller).find_last(run_id)
            status = await RunRepository(session, caller).find_status(run_id)
        if last is None and status not in ACTIVE:
            raise EventsGoneError(run_id)
        if last is None or position > last:
            known = f"its last is {last[0]}-{last[1]}" if last else "it has none yet"
            raise InvalidInputError(f"The run {run_id} has no event {position[0]}-{position[1]}: {known}.")

    @asynccontextmanager
    async def _tail(self, caller: Caller, run_id: RunId) -> AsyncIterator[Tail]:
        key = (caller, run_id)
        tail = self._tails.get(key)
        if tail is None:
            tail = self._tails[key] = Tail(self._database, self._readers, caller, run_id, poll_s=self._poll_s)
        tail.followers += 1
        try:
            yield tail
        finally:
            tail.followers -= 1
            if tail.followers == 0:
                del self._tails[key]
                await tail.close()


def _streamed(rows: Sequence[RunEvent], after: Position) -> Iterator[StreamEvent]:
    events = (event for row in rows for event in unpack(row))
    return (event for event in events if event.position > after and event.event != STEP_EVENT)
