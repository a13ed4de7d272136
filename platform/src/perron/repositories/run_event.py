"""SQL of run events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from perron.models.run import Run
from perron.models.run_event import RunEvent
from perron.repositories.base import BaseRepository
from perron.repositories.run import RunRepository

APPEND = """
    SELECT {schema}.append_events(%b::uuid[], %b::int[], %b::int[], %b::text[], %b::text[], %b::text[]) AS lost
"""
"""Append events (columns run_id, epoch, n, event, namespace, payload as JSON text) on a psycopg connection.

Returns the holders (`<run id>/<epoch>`) that were left out: the run is not running under that epoch. See
revision 0003.
"""


class RunEventRepository(BaseRepository[RunEvent]):
    """Events of runs; who may see the run may see its events."""

    model = RunEvent

    async def insert_last(
        self, run_id: UUID, epoch: int, events: Sequence[tuple[str, str, Any]], *, after_n: int
    ) -> None:
        """Insert an epoch's last events, as (event, namespace, payload), behind number `after_n`.

        Without a fence: in a transaction that takes the run from its worker.
        """
        rows = [
            {
                "run_id": run_id,
                "epoch": epoch,
                "n": n,
                "n_first": n,
                "event": event,
                "namespace": namespace,
                "payload": payload,
            }
            for n, (event, namespace, payload) in enumerate(events, start=after_n + 1)
        ]
        await self.session.execute(insert(RunEvent), rows)

    async def get_after(self, run_id: UUID, *, epoch: int, n: int, limit: int = 500) -> Sequence[RunEvent]:
        """Return the events after (epoch, n) in order."""
        query = (
            select(RunEvent)
            .join(Run, Run.run_id == RunEvent.run_id)
            .where(*RunRepository(self.session, self.caller).visible())
            .where(RunEvent.run_id == run_id, tuple_(RunEvent.epoch, RunEvent.n) > tuple_(epoch, n))
            .order_by(RunEvent.epoch, RunEvent.n)
            .limit(limit)
        )
        return (await self.session.execute(query)).scalars().all()

    async def delete_of_runs(self, run_ids: Sequence[UUID]) -> None:
        """Delete all events of runs, whoever's they are."""
        await self.session.execute(delete(RunEvent).where(RunEvent.run_id.in_(run_ids)))

    async def delete_of(self, thread_ids: Sequence[UUID]) -> None:
        """Delete all events of the runs of threads, whoever's they are."""
        runs = select(Run.run_id).where(Run.thread_id.in_(thread_ids))
        statement = delete(RunEvent).where(RunEvent.run_id.in_(runs))
        await self.session.execute(statement.execution_options(synchronize_session=False))
