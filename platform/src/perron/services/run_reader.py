"""Readers whose disconnect cancels their run: those that leave, and those whose process is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog

from perron import clock
from perron.caller import Caller
from perron.database.engine import Database
from perron.database.outage import outlast
from perron.errors import RunEndedError, RunNotFoundError
from perron.models.run_reader import RunReader
from perron.repositories.run_reader import RunReaderRepository
from perron.runtime.readers import Presence
from perron.services.run import RunService

log = structlog.get_logger(__name__)

_GRACE_S = 20.0
"""How long a process may be missed that only lost its connection: it pauses up to 5 s, and connects within 10."""
_RESTART = timedelta(seconds=10)
"""How long all processes have to come back after a restart of the server, which they try each 5 s."""
_PAUSE_S = 1.0


class RunReaderService:
    """Readers that take their run along when they go."""

    def __init__(self, database: Database, runs: RunService) -> None:
        self._database = database
        self._runs = runs
        self._missed_at: dict[UUID, float] = {}
        """Reader → when it was first seen that its process is gone."""

    async def enter(self, run_id: UUID, presence: Presence) -> None:
        """Begin to read: from here on the run is cancelled when this process dies."""
        async with self._database.begin() as session:
            await RunReaderRepository(session, Caller.system()).create(
                RunReader(reader_id=presence.reader_id, run_id=run_id, process_key=presence.process_key)
            )

    @asynccontextmanager
    async def reading(self, caller: Caller, run_id: UUID, presence: Presence | None) -> AsyncIterator[None]:
        """Cancel the run, if it has not ended by then, when the block is left; without a presence do nothing."""
        try:
            yield
        finally:
            if presence is not None:
                leaving = partial(self._leave, caller, run_id, presence.reader_id)
                await asyncio.shield(outlast(leaving, pause_s=_PAUSE_S))

    async def cancel_deserted(self) -> bool:
        """Cancel runs, of all tenants, one of whose readers has died with its process; a chore."""
        async with self._database.begin() as session:
            missing = await RunReaderRepository(session, Caller.system()).find_missing(up_for=_RESTART)
        now = clock.boot_s()
        self._missed_at = {reader_id: self._missed_at.get(reader_id, now) for reader_id, _, _ in missing}
        for reader_id, run_id, tenant in missing:
            if now - self._missed_at[reader_id] >= _GRACE_S:
                log.info("reader_missed", run_id=str(run_id))
                await self._leave(Caller.system(tenant or ""), run_id, reader_id)
        return False

    async def _leave(self, caller: Caller, run_id: UUID, reader_id: UUID) -> None:
        with suppress(RunEndedError, RunNotFoundError):
            await self._runs.cancel(caller, run_id)
        async with self._database.begin() as session:
            await RunReaderRepository(session, caller).delete(reader_id)
