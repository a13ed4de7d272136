"""SQL of a run's timeline: its steps, calls and waits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload

from perron.models.ask import Ask
from perron.models.call import Call, CallAttempt
from perron.models.run_event import RunEvent


class TimelineRepository:
    """What belongs to one run; who may see the run may see it."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get_events(self, run_id: UUID, events: Collection[str]) -> Sequence[RunEvent]:
        """Return the run's events of these kinds, in order."""
        query = (
            select(RunEvent)
            .where(RunEvent.run_id == run_id, RunEvent.event.in_(events))
            .order_by(RunEvent.epoch, RunEvent.n)
        )
        return (await self._session.execute(query)).scalars().all()

    async def get_calls(self, run_id: UUID) -> Sequence[Call]:
        """Return the calls that the run began, or sent something for, with their attempts."""
        sent_for = select(CallAttempt.call_id).where(CallAttempt.run_id == run_id)
        query = (
            select(Call)
            .where(or_(Call.run_id == run_id, Call.call_id.in_(sent_for)))
            .options(selectinload(Call.attempts))
            .order_by(Call.created_at, Call.call_id)
        )
        return (await self._session.execute(query)).scalars().all()

    async def get_asks(self, run_id: UUID) -> Sequence[Ask]:
        """Return what the run stopped for, with the answers."""
        query = select(Ask).where(Ask.run_id == run_id).options(joinedload(Ask.answer)).order_by(Ask.ask_id)
        return (await self._session.execute(query)).scalars().all()
