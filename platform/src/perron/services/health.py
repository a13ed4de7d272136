"""`HealthService`: what an operator has to know of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perron import clock
from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import PermissionDeniedError
from perron.repositories.health import HealthRepository
from perron.repositories.worker import WorkerRepository

OVERDUE_S = 60.0
"""A run that could have begun this long ago and has not is stuck."""


@dataclass(frozen=True, slots=True)
class Health:
    """The platform as its database shows it."""

    version: str
    """PostgreSQL's."""
    clock_offset_s: float
    """How far this process's clock is ahead of the database's."""
    connections: int
    max_connections: int
    has_default_events: bool
    """The default partition of `run_events` has rows: partitions were not made in time."""
    orphans: int
    """Runs whose worker is dead."""
    overdue: Sequence[tuple[str, int, int]]
    """Runs that nobody begins, as (agent, runs, how many live workers have the agent)."""
    live_workers: int
    versions: Sequence[str]
    """Releases of Perron that live workers run."""
    dead_workers: int
    open_asks: int
    failed_crons: int
    """Crons that the platform has disabled, since nothing could come of them."""
    overdue_crons: int
    """Crons that nobody fires."""
    failed_webhooks: int
    """Deliveries that were given up."""
    overdue_webhooks: int
    """Deliveries that nobody attempts."""


class HealthService:
    """Looks at the whole platform, all tenants together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller) -> Health:
        """Look.

        Raises:
            PermissionDeniedError: Only admins may.
            DatabaseUnavailableError: The database does not answer, or is too old.
        """
        if not caller.is_admin:
            raise PermissionDeniedError("Only admins may look at the platform's health.")
        version = await self._database.check()
        async with self._database.begin() as session:
            health = HealthRepository(session, schema=self._database.schema)
            before = clock.now()
            database_now = await health.now()
            between = before + (clock.now() - before) / 2
            workers = await WorkerRepository(session, caller).get_all_with_liveness()
            live = [worker for worker, is_live in workers if is_live]
            connections, max_connections = await health.count_backends()
            return Health(
                version=version,
                clock_offset_s=(between - database_now).total_seconds(),
                connections=connections,
                max_connections=max_connections,
                has_default_events=await health.has_default_events(),
                orphans=await health.count_orphans(),
                overdue=await health.count_overdue(after_s=OVERDUE_S),
                live_workers=len(live),
                versions=sorted({worker.version for worker in live}),
                dead_workers=len(workers) - len(live),
                open_asks=await health.count_open_asks(),
                failed_crons=await health.count_failed_crons(),
                overdue_crons=await health.count_overdue_crons(after_s=OVERDUE_S),
                failed_webhooks=await health.count_failed_webhooks(),
                overdue_webhooks=await health.count_overdue_webhooks(after_s=OVERDUE_S),
            )
