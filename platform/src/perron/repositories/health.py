"""SQL of the platform's health: what piles up, and whether the database keeps its promises."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from perron.models.ask import Ask
from perron.models.cron import Cron
from perron.models.run import ACTIVE, Run
from perron.models.run_event import RunEvent
from perron.models.webhook_delivery import WebhookDelivery
from perron.models.worker import Worker
from perron.repositories.pause import is_held
from perron.repositories.worker import is_live, lives


class HealthRepository:
    """Counts over all tenants: what an operator has to know of, whoever's it is."""

    def __init__(self, session: AsyncSession, *, schema: str) -> None:
        self._session = session
        self._schema = schema

    async def now(self) -> datetime:
        """Return the time by the database's clock."""
        now: datetime = (await self._session.execute(select(func.clock_timestamp()))).scalar_one()
        return now

    async def count_orphans(self) -> int:
        """Count the runs that a dead worker left behind, but for those that are paused."""
        left_behind = Run.status == "running", ~lives(Run.worker_id), ~is_held()
        query = select(func.count()).select_from(Run).where(*left_behind)
        return (await self._session.execute(query)).scalar_one()

    async def count_overdue(self, *, after_s: float) -> Sequence[tuple[str, int, int]]:
        """Count, by agent, the heads of lines that nobody has begun for so long since they were due.

        Paused ones are left out.

        Returns:
            (agent, runs, how many live workers have it), by the agents' names.
        """
        due_at = func.coalesce(Run.not_before, Run.created_at)
        earlier = select(Run.thread_id, func.min(Run.seq).label("seq")).where(Run.status.in_(ACTIVE))
        heads = earlier.group_by(Run.thread_id).subquery()
        has_agent = Worker.agents.has_key(Run.graph_id)
        workers = select(func.count()).select_from(Worker).where(is_live(), has_agent).scalar_subquery()
        query = (
            select(Run.graph_id, func.count(), workers)
            .join(heads, (heads.c.thread_id == Run.thread_id) & (heads.c.seq == Run.seq))
            .where(Run.status == "pending", ~is_held(), due_at < _before(after_s))
            .group_by(Run.graph_id)
            .order_by(Run.graph_id)
        )
        return [(row[0], row[1], row[2]) for row in await self._session.execute(query)]

    async def count_open_asks(self) -> int:
        """Count what waits for a person."""
        query = select(func.count()).select_from(Ask).where(Ask.state == "open")
        return (await self._session.execute(query)).scalar_one()

    async def count_failed_crons(self) -> int:
        """Count the crons that the platform has disabled."""
        query = select(func.count()).select_from(Cron).where(Cron.error.is_not(None))
        return (await self._session.execute(query)).scalar_one()

    async def count_overdue_crons(self, *, after_s: float) -> int:
        """Count the crons that nobody has fired for so long."""
        query = select(func.count()).select_from(Cron).where(Cron.next_run_date < _before(after_s))
        return (await self._session.execute(query)).scalar_one()

    async def count_failed_webhooks(self) -> int:
        """Count the deliveries that were given up."""
        query = select(func.count()).select_from(WebhookDelivery).where(WebhookDelivery.state == "failed")
        return (await self._session.execute(query)).scalar_one()

    async def count_overdue_webhooks(self, *, after_s: float) -> int:
        """Count the deliveries that nobody has attempted for so long since they were due."""
        is_overdue = (WebhookDelivery.state == "pending") & (WebhookDelivery.due_at < _before(after_s))
        query = select(func.count()).select_from(WebhookDelivery).where(is_overdue)
        return (await self._session.execute(query)).scalar_one()

    async def has_default_events(self) -> bool:
        """Say whether the default partition of `run_events`, which is to stay empty, has rows."""
        partition = self._session.get_bind().dialect.identifier_preparer.quote(
            self._schema
        )  # a setting, not input
        query = text(f"SELECT EXISTS (SELECT FROM {partition}.{RunEvent.__tablename__}_default)")  # noqa: S608
        return bool((await self._session.execute(query)).scalar_one())

    async def count_backends(self) -> tuple[int, int]:
        """Return how many connections the server has now, and how many it allows."""
        query = text("SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity")
        row = (await self._session.execute(query)).one()
        return int(row[0]), int(row[1])


def _before(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
