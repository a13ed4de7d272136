"""The tail of one run's events in this process: read once, for all who follow the run here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from perron import clock
from perron.caller import Caller
from perron.database.engine import Database
from perron.database.outage import outlast
from perron.errors import EventsGoneError
from perron.ids import RunId
from perron.models.run import ACTIVE
from perron.models.run_event import RunEvent
from perron.repositories.run import RunRepository
from perron.repositories.run_event import RunEventRepository
from perron.runtime.packing import Position
from perron.runtime.readers import Readers, rings
from perron.runtime.shared_work import SharedWork

_PAGES = 4
"""Kept for followers who are a little behind; who is further behind reads for itself."""
_STATES = 4
_PAUSE_S, _PAUSE_GROWS_S = 0.01, 0.001
"""Between two looks at a run that is talking, and by what it grows up to there: its first words come at once."""


@dataclass(frozen=True, slots=True)
class _Page:
    after: Position
    rows: Sequence[RunEvent]

    @property
    def end(self) -> Position:
        return self.rows[-1].epoch, self.rows[-1].n


class Tail:
    """Pages of a run's events, for one caller.

    Nothing is read before a follower asks, and what is kept has a limit: one who does not ask costs nothing.
    """

    def __init__(
        self, database: Database, readers: Readers, caller: Caller, run_id: RunId, *, poll_s: float
    ) -> None:
        self.followers = 0
        self._database = database
        self._readers = readers
        self._caller = caller
        self._run_id = run_id
        self._poll_s = poll_s
        self._pause_s = 0.0
        self._read_at = 0.0
        self._pages: deque[_Page] = deque(maxlen=_PAGES)
        self._looks = SharedWork[Sequence[RunEvent]]()
        self._states = SharedWork[Any](keep=_STATES)

    async def close(self) -> None:
        """Stop looking: nobody follows any more."""
        await self._looks.close()
        await self._states.close()

    async def behind(self, after: Position, *, timeout_s: float | None = None) -> Sequence[RunEvent]:
        """Wait for events behind a position, and return a page of them: at least one row, none behind the end.

        Raises:
            DatabaseUnavailableError: The database was away for long.
            EventsGoneError: What comes next is not there any more.
            TimeoutError: Nothing has come in time.
        """
        for page in reversed(self._pages):
            if page.after <= after < page.end:
                return [row for row in page.rows if (row.epoch, row.n) > after]
        return await self._looks.get(after, partial(self._look, after), timeout_s=timeout_s)

    async def state(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Return a state that an event stands for, read once for all followers who come to it."""
        return await self._states.get(key, read)

    async def _look(self, after: Position) -> Sequence[RunEvent]:
        has_ended = False
        await asyncio.sleep(self._read_at + self._pause_s - clock.boot_s())
        with self._readers.waiting(self._run_id) as rung:
            while True:
                rung.clear()
                rows = await outlast(partial(self._read, after), pause_s=self._poll_s)
                if rows:
                    self._require_whole(after, rows)
                    self._keep(_Page(after, rows))
                    return rows
                if has_ended:
                    await outlast(self._require_any, pause_s=self._poll_s)
                    return ()
                has_ended = await outlast(self._has_ended, pause_s=self._poll_s)
                if not has_ended:  # otherwise once more: what came with the end may have come after the look
                    await rings(rung, self._poll_s)

    def _keep(self, page: _Page) -> None:
        newest = self._pages[-1].end if self._pages else None
        if newest is not None and newest != page.after:
            if page.end <= newest:
                return  # of one who is far behind
            self._pages.clear()
        self._pages.append(page)

    def _require_whole(self, after: Position, rows: Sequence[RunEvent]) -> None:
        epoch, n = after
        for row in rows:
            if row.n_first > (n + 1 if row.epoch == epoch else 1):
                raise EventsGoneError(self._run_id)
            epoch, n = row.epoch, row.n

    async def _require_any(self) -> None:
        """Tell a run without events from one that has ended behind the last of them, and from one that is gone."""
        async with self._database.begin() as session:
            last = await RunEventRepository(session, self._caller).find_last(self._run_id)
            status = await RunRepository(session, self._caller).find_status(self._run_id)
        if last is None and status is not None:
            raise EventsGoneError(self._run_id)

    async def _read(self, after: Position) -> Sequence[RunEvent]:
        epoch, n = after
        async with self._database.begin(autocommit=True) as session:
            rows = await RunEventRepository(session, self._caller).get_after(self._run_id, epoch=epoch, n=n)
        self._read_at = clock.boot_s()
        self._pause_s = min(self._pause_s + _PAUSE_GROWS_S, _PAUSE_S)
        return rows

    async def _has_ended(self) -> bool:
        async with self._database.begin(autocommit=True) as session:
            return await RunRepository(session, self._caller).find_status(self._run_id) not in ACTIVE
