"""SQL of crons."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update

from perron.errors import CronNotFoundError
from perron.models.agent import Agent
from perron.models.assistant import Assistant
from perron.models.cron import Cron
from perron.models.worker import Worker
from perron.repositories.base import DATABASE_NOW, BaseRepository, older_than
from perron.repositories.worker import is_live


class CronRepository(BaseRepository[Cron]):
    """Crons of a caller; what is due is found whoever's it is."""

    model = Cron
    not_found = CronNotFoundError

    async def now(self) -> datetime:
        """Return the time by the database's clock, which says what is due."""
        now: datetime = (await self.session.execute(select(DATABASE_NOW))).scalar_one()
        return now

    def matching(
        self,
        *,
        assistant_id: UUID | None = None,
        thread_id: UUID | None = None,
        enabled: bool | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> list[ColumnElement[bool]]:
        """Return the conditions of a list; `metadata` must be contained in the cron's."""
        conditions: list[ColumnElement[bool]] = []
        if assistant_id is not None:
            conditions.append(Cron.assistant_id == assistant_id)
        if thread_id is not None:
            conditions.append(Cron.thread_id == thread_id)
        if enabled is not None:
            conditions.append(Cron.enabled.is_(enabled))
        if metadata:
            conditions.append(Cron.metadata_.contains(metadata))
        return conditions

    async def search(
        self, *conditions: ColumnElement[bool], sort_by: str, is_ascending: bool, limit: int, offset: int
    ) -> Sequence[Cron]:
        """Return a page, in the order of a column; what has no value there comes last."""
        column = self._column(sort_by)
        order = (column.asc() if is_ascending else column.desc()).nulls_last()
        query = self.select().where(*conditions).order_by(order, Cron.cron_id).limit(limit).offset(offset)
        return (await self.session.execute(query)).scalars().all()

    async def find_due(self, *, agents: Sequence[str], limit: int) -> Sequence[Cron]:
        """Return what is due and can be decided by a process that has these agents, the longest due first.

        A cron whose assistant is gone is anybody's.
        """
        query = (
            select(Cron)
            .outerjoin(Assistant, Assistant.assistant_id == Cron.assistant_id)
            .where(_is_due(), or_(Assistant.assistant_id.is_(None), Assistant.graph_id.in_(agents)))
        )
        return (await self.session.execute(query.order_by(Cron.next_run_date).limit(limit))).scalars().all()

    async def find_abandoned(self, *, after: timedelta, limit: int) -> Sequence[Cron]:
        """Return what is due for so long, while for as long no process has brought its agent."""
        has_worker = exists().where(Worker.agents.has_key(Assistant.graph_id), is_live())
        query = (
            select(Cron)
            .join(Assistant, Assistant.assistant_id == Cron.assistant_id)
            .outerjoin(Agent, Agent.graph_id == Assistant.graph_id)
            .where(
                _is_due(after),
                or_(
                    Agent.graph_id.is_(None),
                    and_(Agent.state == "missing", Agent.updated_at <= func.clock_timestamp() - after),
                ),
                ~has_worker,
            )
        )
        return (await self.session.execute(query.order_by(Cron.next_run_date).limit(limit))).scalars().all()

    async def take(self, cron: Cron) -> Cron | None:
        """Lock a cron that was found due; None when somebody else has it, or has changed it."""
        query = (
            select(Cron)
            .where(Cron.cron_id == cron.cron_id, Cron.next_run_date == cron.next_run_date)
            .with_for_update(key_share=True, skip_locked=True)
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def delete_ended(self, *, age: timedelta, limit: int) -> Sequence[UUID]:
        """Delete crons whose end was so long ago, whoever's they are."""
        has_ended = Cron.end_time < older_than(age), Cron.next_run_date.is_(None)
        return await self.delete_some(*has_ended, limit=limit)

    async def transfer(self, thread_id: UUID, *, to: str) -> None:
        """Make all crons of a thread another principal's."""
        await self.session.execute(
            update(Cron).where(Cron.thread_id == thread_id, *self.visible()).values(owner=to)
        )


def _is_due(since: timedelta = timedelta(0)) -> ColumnElement[bool]:
    return Cron.next_run_date <= func.clock_timestamp() - since
