"""SQL of workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, exists, false, func, select, text, update
from sqlalchemy.orm import InstrumentedAttribute

from perron import failpoints
from perron.errors import WorkerNotFoundError
from perron.ids import process_of
from perron.models.worker import Worker
from perron.repositories.base import BaseRepository, older_than

BEAT = "UPDATE {schema}.workers SET beat_at = clock_timestamp() WHERE worker_id = %s"
"""One beat, for the side thread's own psycopg connection."""


def is_live() -> ColumnElement[bool]:
    """Return the condition that a worker has beaten within its lease, by the database's clock."""
    if failpoints.hit("liveness"):
        return false()
    return Worker.beat_at > func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, Worker.lease_s)


def lives(worker_id: InstrumentedAttribute[UUID | None]) -> ColumnElement[bool]:
    """Return the condition that the worker that a row names is alive."""
    return exists().where(Worker.worker_id == worker_id, is_live())


class WorkerRepository(BaseRepository[Worker]):
    """Workers: things of the platform, the same for every caller."""

    model = Worker
    not_found = WorkerNotFoundError

    async def get_all_with_liveness(self) -> Sequence[tuple[Worker, bool]]:
        """Return all workers, the latest started first, each with whether it is alive."""
        rows = await self.session.execute(select(Worker, is_live()).order_by(Worker.started_at.desc()))
        return [(row[0], bool(row[1])) for row in rows]

    async def is_live(self, worker_id: UUID) -> bool:
        """Say whether this worker has beaten within its lease."""
        query = select(Worker.worker_id).where(Worker.worker_id == worker_id, is_live())
        return (await self.session.execute(query)).first() is not None

    async def delete_dead(self, *, age: timedelta, limit: int) -> Sequence[UUID]:
        """Delete workers that have not beaten for so long, nor within their lease."""
        return await self.delete_some(Worker.beat_at < older_than(age), ~is_live(), limit=limit)

    async def revive(self, worker_id: UUID, *, agents: list[str]) -> None:
        """Set what the worker can run, and count this as a beat."""
        await self.session.execute(
            update(Worker)
            .where(Worker.worker_id == worker_id)
            .values(agents=agents, beat_at=func.clock_timestamp())
        )

    async def terminate_backends(self, worker_id: UUID) -> int:
        """End the connections of a dead worker's process that still hold locks of rows; return their number.

        Those that only read may be of use: the process may live and have registered anew.
        """
        query = text(
            "SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a"
            " WHERE a.application_name LIKE :name AND a.pid <> pg_backend_pid() AND EXISTS ("
            "SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.granted"
            " AND l.mode IN ('RowShareLock', 'RowExclusiveLock'))"
        )
        return int((await self.session.execute(query, {"name": f"%{process_of(worker_id)}%"})).scalar_one())
