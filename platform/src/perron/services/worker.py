"""Rules of workers: who executes runs."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database
from perron.models.run import Run
from perron.models.worker import Worker
from perron.repositories.run import RunRepository
from perron.repositories.worker import WorkerRepository


class WorkerService:
    """Workers of the platform."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_all(self, caller: Caller) -> Sequence[tuple[Worker, bool]]:
        """Return all workers, the latest started first, each with whether it is alive."""
        async with self._database.begin() as session:
            return await WorkerRepository(session, caller).get_all_with_liveness()

    async def get(self, caller: Caller, worker_id: UUID) -> tuple[Worker, bool, Sequence[Run]]:
        """Return a worker, whether it is alive, and the runs that it executes, of those that the caller may see.

        Raises:
            WorkerNotFoundError: There is no such worker (any more).
        """
        async with self._database.begin() as session:
            workers = WorkerRepository(session, caller)
            worker = await workers.get(worker_id)
            is_alive = await workers.is_live(worker_id)
            return worker, is_alive, await RunRepository(session, caller).get_of_worker(worker_id)
