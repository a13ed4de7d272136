"""Firing crons: the runs that are due are created, each once, however many processes look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import structlog
from pydantic import ValidationError

from perron.caller import Caller
from perron.database.engine import Database, Session
from perron.database.outage import is_outage, is_passing
from perron.errors import AgentError, ConflictError, DatabaseUnavailableError, InvalidInputError, PerronError
from perron.models.cron import Cron
from perron.models.run import Run
from perron.plugins.registry import Registry
from perron.repositories.cron import CronRepository
from perron.repositories.thread import ThreadRepository
from perron.runtime.inputs import check_input
from perron.schemas.run import RunCreate
from perron.services.cron import GONE
from perron.services.cron_schedule import CronSchedule
from perron.services.run import RunService
from perron.services.validation import as_invalid_input

log = structlog.get_logger(__name__)

_BATCH = 50
_ABANDONED = timedelta(seconds=60)
"""How long a cron is due, and its agent in no process, before that counts as gone: longer than a restart."""

Insert = Callable[[Session], Awaitable[Run]]


class CronFiring:
    """Creates the runs of due crons, of all tenants, and says when each is due next."""

    def __init__(self, database: Database, registry: Registry, runs: RunService) -> None:
        self._database = database
        self._registry = registry
        self._runs = runs

    async def fire_due(self) -> bool:
        """Create a run for each cron that is due and whose agent is loaded here; say whether there may be more.

        A run for a date that has long passed stands for all that were missed since: the next is counted from now.
        A cron that no run can be created for is disabled, with the reason.
        """
        agents = [name for name, registered in self._registry.agents.items() if registered.agent is not None]
        async with self._database.begin() as session:
            crons = CronRepository(session, Caller.system())
            due = await crons.find_due(agents=agents, limit=_BATCH)
            abandoned = await crons.find_abandoned(after=_ABANDONED, limit=_BATCH)
        for cron in due:
            await self._guarded(cron, self._fire)
        for cron in abandoned:
            await self._guarded(cron, self._give_up)
        return len(due) == _BATCH

    async def _guarded(self, cron: Cron, work: Callable[[Cron], Awaitable[None]]) -> None:
        try:
            await work(cron)
        except Exception as exc:  # the door: a cron that breaks something is not in the way of the others
            if is_outage(exc):
                raise
            log.exception("cron_failed", cron_id=str(cron.cron_id))
            if not is_passing(exc):
                await self._disable(cron, f"It broke ({type(exc).__name__}): the worker's log says where.")

    async def _fire(self, cron: Cron) -> None:
        try:
            insert = await self._prepared(cron)
            await self._database.run(lambda session: _move_on(session, cron, insert))
        except DatabaseUnavailableError:
            raise
        except ConflictError as exc:  # its thread is busy, and it is not to wait in line: this date is left out
            log.warning("cron_skipped", cron_id=str(cron.cron_id), reason=exc.message)
            await self._database.run(lambda session: _move_on(session, cron, None))
        except PerronError as exc:
            await self._disable(cron, exc.message)

    async def _give_up(self, cron: Cron) -> None:
        await self._disable(
            cron, f"No process has its agent {cron.graph_id!r} any more: install it, then enable the cron."
        )

    async def _prepared(self, cron: Cron) -> Insert:
        """Check the run once more: what fitted when the cron was made may not fit this release of its agent."""
        if cron.assistant_id is None:
            raise InvalidInputError(GONE)
        payload = dict(cron.payload)
        config = payload.pop("config", None) or {}
        cron_id = {"cron_id": str(cron.cron_id)}
        try:
            body = RunCreate(
                **payload,
                assistant_id=str(cron.assistant_id),
                thread_id=cron.thread_id,
                metadata={**cron.metadata_, **cron_id},
                config={**config, "configurable": {**(config.get("configurable") or {}), **cron_id}},
                on_completion="delete" if cron.on_run_completed == "delete" else "keep",
            )
        except ValidationError as exc:
            raise as_invalid_input(exc) from None
        registered = self._registry.agents.get(cron.graph_id)
        if registered is not None and registered.agent is not None:
            with suppress(AgentError):  # a graph that cannot be built now fails the run, and not all to come
                await check_input(registered.agent, body.input)
        return await self._runs.prepare(Caller(principal=cron.owner, tenant=cron.tenant), body)

    async def _disable(self, cron: Cron, error: str) -> None:
        async with self._database.begin() as session:
            taken = await CronRepository(session, Caller.system()).take(cron)
            if taken is not None:
                taken.enabled, taken.error, taken.next_run_date = False, error, None
                log.warning("cron_disabled", cron_id=str(cron.cron_id), reason=error)


async def _move_on(session: Session, cron: Cron, insert: Insert | None) -> None:
    """Create the run and set the next date, in one transaction: nobody sees the one without the other."""
    if cron.thread_id is not None:  # before the cron, as whoever deletes or transfers the thread does
        await ThreadRepository(session, Caller.system()).find_any(cron.thread_id, lock=True)
    crons = CronRepository(session, Caller.system())
    taken = await crons.take(cron)
    if taken is None:
        return
    now = await crons.now()
    end = taken.end_time
    if insert is not None and (end is None or now <= end):
        run = await insert(session)
        log.info("cron_fired", cron_id=str(cron.cron_id), run_id=str(run.run_id))
    following = CronSchedule.parse(taken.schedule, taken.timezone).next_after(now)
    has_ended = following is None or (end is not None and following > end)
    taken.next_run_date = None if has_ended else following
