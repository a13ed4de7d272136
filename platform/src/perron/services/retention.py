"""Retention: what goes by its age, a little at a time, beside the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from perron.caller import Caller
from perron.configuration import PlatformSettings
from perron.database.engine import Database, Session
from perron.database.outage import DatabaseError, sqlstate
from perron.database.partitions import WEEK, drop_week, lower_bound, past_weeks
from perron.repositories.call import CallRepository
from perron.repositories.cron import CronRepository
from perron.repositories.queue_log import QueueLogRepository
from perron.repositories.run import RunRepository
from perron.repositories.run_event import RunEventRepository
from perron.repositories.webhook_delivery import WebhookDeliveryRepository
from perron.repositories.worker import WorkerRepository

log = structlog.get_logger(__name__)

_BATCH = 500
_LOCK_TIMEOUT = "55P03"
_SYSTEM = Caller.system()

Deletion = Callable[[Session, timedelta], Awaitable[bool]]
"""Deletes a batch of what is older; says whether there may be more."""


class Retention:
    """Deletes by the ages that the settings say, of all tenants; rows that somebody else holds stay for now."""

    def __init__(self, database: Database, settings: PlatformSettings) -> None:
        self._database = database
        self._settings = settings

    async def delete_old(self) -> bool:
        """Delete a batch of each kind, each in a short transaction; say whether there may be more."""
        settings = self._settings
        kinds: Sequence[tuple[float, Deletion]] = (
            (settings.keep_runs_days, self._delete_runs),
            (settings.keep_calls_days, self._delete_calls),
            (settings.keep_webhooks_days, self._delete_webhooks),
            (settings.keep_crons_days, self._delete_crons),
            (settings.keep_workers_days, self._delete_workers),
            (settings.keep_queue_log_days, self._delete_queue_log),
        )
        has_more = False
        for days, delete in kinds:
            if days:
                has_more |= await self._delete(delete, timedelta(days=days))
        if settings.keep_events_days:
            await self._drop_events(timedelta(days=settings.keep_events_days))
        return has_more

    async def _delete(self, delete: Deletion, age: timedelta) -> bool:
        try:
            async with self._database.begin() as session:
                return await delete(session, age)
        except DatabaseError:  # of this kind: the others have their turn all the same
            log.exception("not_deleted_by_age", kind=delete.__name__)
            return False

    async def _drop_events(self, age: timedelta) -> None:
        """Drop the weeks of events that are old enough and whose runs have all ended as long ago."""
        async with self._database.begin() as session:
            weeks = await past_weeks(session, age=age)
        for week in weeks:
            try:
                async with self._database.begin() as session:
                    first, end = lower_bound(week), lower_bound(week + WEEK)
                    is_used = await RunRepository(session, _SYSTEM).has_since(first, end, age=age)
                    if not is_used and await drop_week(session, week):
                        log.info("events_dropped", week=week.isoformat())
            except DatabaseError as exc:
                if sqlstate(exc) != _LOCK_TIMEOUT:
                    raise
                log.info("events_not_dropped", week=week.isoformat(), reason="they are in use; tried again later")
                return  # others waited for this one; the next week would make them wait once more

    @staticmethod
    async def _delete_runs(session: Session, age: timedelta) -> bool:
        run_ids = await RunRepository(session, _SYSTEM).delete_ended(age=age, limit=_BATCH)
        await RunEventRepository(session, _SYSTEM).delete_of_runs(run_ids)
        return len(run_ids) == _BATCH

    @staticmethod
    async def _delete_calls(session: Session, age: timedelta) -> bool:
        return len(await CallRepository(session, _SYSTEM).delete_settled(age=age, limit=_BATCH)) == _BATCH

    @staticmethod
    async def _delete_webhooks(session: Session, age: timedelta) -> bool:
        return len(await WebhookDeliveryRepository(session, _SYSTEM).delete_ended(age=age, limit=_BATCH)) == _BATCH

    @staticmethod
    async def _delete_crons(session: Session, age: timedelta) -> bool:
        return len(await CronRepository(session, _SYSTEM).delete_ended(age=age, limit=_BATCH)) == _BATCH

    @staticmethod
    async def _delete_workers(session: Session, age: timedelta) -> bool:
        return len(await WorkerRepository(session, _SYSTEM).delete_dead(age=age, limit=_BATCH)) == _BATCH

    async def _delete_queue_log(self, session: Session, age: timedelta) -> bool:
        queue_log = QueueLogRepository(session, schema=self._settings.queue_schema)
        return await queue_log.delete_old(age=age, limit=_BATCH)
