"""Rules of crons: which ones there are, and when each is due next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from pydantic import ValidationError

from perron.caller import Caller
from perron.database.encoding import clean
from perron.database.engine import Database
from perron.errors import InvalidInputError
from perron.ids import new_id, system_assistant_id
from perron.models.assistant import Assistant
from perron.models.cron import Cron
from perron.plugins.registry import Registry
from perron.repositories.assistant import AssistantRepository
from perron.repositories.cron import CronRepository
from perron.repositories.thread import ThreadRepository
from perron.runtime.inputs import check_input
from perron.schemas.cron import CronCreate, CronUpdate, payload_of
from perron.schemas.run import RunCreate
from perron.services.cron_schedule import CronSchedule
from perron.services.filter import check_filter
from perron.services.run import RunService
from perron.services.validation import as_invalid_input

SortBy = Literal["cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date", "end_time"]


class CronService:
    """Crons of callers; `CronFiring` creates their runs."""

    def __init__(self, database: Database, registry: Registry, runs: RunService) -> None:
        self._database = database
        self._registry = registry
        self._runs = runs

    async def create(self, caller: Caller, body: CronCreate) -> Cron:
        """Make a cron; on a thread its runs are the thread owner's.

        Raises:
            AgentNotFoundError, AssistantNotFoundError, ThreadNotFoundError: No such thing for this caller.
            InvalidInputError: The schedule, the zone, the end or what the runs are given does not fit.
        """
        if body.thread_id is not None and body.on_run_completed is not None:
            raise InvalidInputError("on_run_completed is for crons without a thread: one that is named stays.")
        schedule = CronSchedule.parse(body.schedule, body.timezone)
        payload = payload_of(body)
        assistant = await self._check(caller, body.assistant_id, payload)
        async with self._database.begin() as session:
            crons = CronRepository(session, caller)
            thread = await ThreadRepository(session, caller).get(body.thread_id) if body.thread_id else None
            first = _first_date(schedule, body.end_time, await crons.now())
            return await crons.create(
                Cron(
                    cron_id=new_id(),
                    tenant=caller.tenant,
                    owner=thread.owner if thread else caller.principal,
                    assistant_id=assistant.assistant_id,
                    graph_id=assistant.graph_id,
                    thread_id=body.thread_id,
                    schedule=schedule.expression,
                    timezone=body.timezone,
                    end_time=body.end_time,
                    payload=clean(payload)[0],
                    metadata_=clean(body.metadata)[0],
                    on_run_completed=None if body.thread_id else body.on_run_completed or "delete",
                    enabled=body.enabled,
                    next_run_date=first if body.enabled else None,
                )
            )

    async def get(self, caller: Caller, cron_id: UUID) -> Cron:
        """Return the cron."""
        async with self._database.begin() as session:
            return await CronRepository(session, caller).get(cron_id)

    async def search(
        self,
        caller: Caller,
        *,
        assistant_id: UUID | None = None,
        thread_id: UUID | None = None,
        enabled: bool | None = None,
        metadata: dict[str, Any] | None = None,
        sort_by: str = "created_at",
        sort_order: str = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[Cron]:
        """Return a page; `metadata` must be contained in the cron's.

        Raises:
            InvalidInputError: There is no such order.
        """
        check_filter("sort_by", "crons", sort_by, get_args(SortBy))
        check_filter("sort_order", "crons", sort_order, ("asc", "desc"))
        async with self._database.begin() as session:
            crons = CronRepository(session, caller)
            return await crons.search(
                *crons.matching(
                    assistant_id=assistant_id, thread_id=thread_id, enabled=enabled, metadata=metadata
                ),
                sort_by=sort_by,
                is_ascending=sort_order == "asc",
                limit=limit,
                offset=offset,
            )

    async def count(
        self,
        caller: Caller,
        *,
        assistant_id: UUID | None = None,
        thread_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> int:
        """Count the crons that `search` finds."""
        async with self._database.begin() as session:
            crons = CronRepository(session, caller)
            conditions = crons.matching(assistant_id=assistant_id, thread_id=thread_id, metadata=metadata)
            return await crons.count(*conditions)

    async def update(self, caller: Caller, cron_id: UUID, body: CronUpdate) -> Cron:
        """Change what is given. The next date is counted from now, and an error of the platform's is forgotten.

        Raises:
            CronNotFoundError: No such cron for this caller.
            InvalidInputError: Nothing is given, or something does not fit.
        """
        timing, options = body.timing, payload_of(body)
        if not timing and not options and "metadata" not in body.model_fields_set:
            raise InvalidInputError("There is nothing to change: name what is to be another than before.")
        before = await self.get(caller, cron_id)
        if before.thread_id is not None and "on_run_completed" in timing:
            raise InvalidInputError("on_run_completed is for crons without a thread: one that is named stays.")
        if options or timing.get("enabled"):
            await self._check(caller, _assistant_of(before), {**before.payload, **options})
        async with self._database.begin() as session:
            crons = CronRepository(session, caller)
            cron = await crons.get(cron_id, lock=True)
            await session.refresh(cron)
            for name, value in timing.items():
                setattr(cron, name, value)
            cron.payload = clean({**cron.payload, **options})[0]
            if "metadata" in body.model_fields_set:
                cron.metadata_ = clean(body.metadata)[0]
            if timing:
                schedule = CronSchedule.parse(cron.schedule, cron.timezone)
                cron.schedule = schedule.expression
                first = _first_date(schedule, cron.end_time, await crons.now()) if cron.enabled else None
                cron.next_run_date, cron.error = first, None
            await session.flush()
            await session.refresh(cron)
            return cron

    async def delete(self, caller: Caller, cron_id: UUID) -> None:
        """Delete a cron; its runs stay.

        Raises:
            CronNotFoundError: No such cron for this caller.
        """
        async with self._database.begin() as session:
            crons = CronRepository(session, caller)
            await crons.get(cron_id)
            await crons.delete(cron_id)

    async def _check(self, caller: Caller, assistant_id: str, payload: dict[str, Any]) -> Assistant:
        """Refuse what no run could be created with; return the assistant."""
        try:
            body = RunCreate(assistant_id=assistant_id, **payload)
        except ValidationError as exc:
            raise as_invalid_input(exc) from None
        await self._runs.prepare(caller, body)
        named = system_assistant_id(assistant_id) if assistant_id in self._registry.agents else UUID(assistant_id)
        async with self._database.begin() as session:
            assistant = await AssistantRepository(session, caller).get_visible(named)
        registered = self._registry.agents.get(assistant.graph_id)
        if registered is not None and registered.agent is not None:
            await check_input(registered.agent, body.input)
        return assistant


def _assistant_of(cron: Cron) -> str:
    if cron.assistant_id is None:
        raise InvalidInputError(GONE)
    return str(cron.assistant_id)


GONE = "Its assistant is gone: delete the cron, and make another with one that there is."


def _first_date(schedule: CronSchedule, end_time: datetime | None, now: datetime) -> datetime | None:
    if end_time is not None and end_time <= now:
        raise InvalidInputError(f"The end {end_time.isoformat()} has passed: nothing would ever be run.")
    first = schedule.next_after(now)
    if first is not None and end_time is not None and first > end_time:
        raise InvalidInputError(
            f"The first date, {first.isoformat()}, is behind the end {end_time.isoformat()}: "
            "nothing would ever be run."
        )
    return first
