"""Rules of workers: who executes runs."""

from __future__ import annotations

from collections.abc import Sequence

from perron.caller import Caller
from perron.database.engine import Database
from perron.models.worker import Worker
from perron.repositories.worker import WorkerRepository


class WorkerService:
    """Workers of the platform."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_all(self, caller: Caller) -> Sequence[tuple[Worker, bool]]:
        """Return all workers, the latest started first, each with whether it is alive."""
        async with self._database.begin() as session:
            return await WorkerRepository(session, caller).get_all_with_liveness()
