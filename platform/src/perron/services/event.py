"""Tidying the events of runs that have ended: what nobody is to read again goes, token events are packed."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database, Session
from perron.repositories.run_event import RunEventRepository
from perron.runtime.events import ATTEMPT_EVENT, LAST_EVENT, STEP_EVENT
from perron.runtime.packing import MOST, TOKEN_EVENT, pack

_READING = timedelta(minutes=1)
"""How long readers have, after the end of a run, to come to it."""
_KEPT = (ATTEMPT_EVENT, STEP_EVENT, "error", LAST_EVENT)
"""What timelines show, and how the run came out."""
_DELETED_AT_ONCE = 100
_PACKED_AT_ONCE = 10


class EventService:
    """The events of ended runs, of all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tidy(self) -> bool:
        """Delete events of streams that are not resumable, and pack those of the others, a minute after the end.

        Returns:
            Whether there may be more to do.
        """
        async with self._database.begin() as session:
            events = RunEventRepository(session, Caller.system())
            deleted = await events.take_ended(resumable=False, ended_for=_READING, limit=_DELETED_AT_ONCE)
            if deleted:
                await events.delete_streamed(deleted, keep=_KEPT)
        async with self._database.begin() as session:
            events = RunEventRepository(session, Caller.system())
            packed = await events.take_ended(resumable=True, ended_for=_READING, limit=_PACKED_AT_ONCE)
            for run_id in packed:
                await _pack(session, run_id)
        return len(deleted) == _DELETED_AT_ONCE or len(packed) == _PACKED_AT_ONCE


async def _pack(session: Session, run_id: UUID) -> None:
    events = RunEventRepository(session, Caller.system())
    after = (0, 0)
    while rows := await events.get_unpacked(run_id, event=TOKEN_EVENT, after=after, limit=MOST):
        after = (rows[-1].epoch, rows[-1].n)
        if packed := pack(rows):
            await events.replace(packed)
        session.expunge_all()
