"""SQL of run readers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import aliased

from perron.models.run import Run
from perron.models.run_reader import RunReader
from perron.repositories.base import DATABASE_NOW, BaseRepository

_IS_MISSING = text("""
    NOT EXISTS (
        SELECT 1 FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.classid::bigint << 32 | l.objid::bigint = reader.process_key
    )
""")


class RunReaderRepository(BaseRepository[RunReader]):
    """Readers that are to be missed, whoever's run they read."""

    model = RunReader

    async def find_missing(self, *, up_for: timedelta) -> Sequence[tuple[UUID, UUID, str | None]]:
        """Return readers whose process does not hold its lock, as (reader, run, tenant of the run or None: gone).

        None of them while the server has not been up for so long: after a restart all have to come back first.
        """
        reader = aliased(RunReader, name="reader")
        query = (
            select(reader.reader_id, reader.run_id, Run.tenant)
            .join(Run, Run.run_id == reader.run_id, isouter=True)
            .where(func.pg_postmaster_start_time() < DATABASE_NOW - up_for, _IS_MISSING)
        )
        return [(row.reader_id, row.run_id, row.tenant) for row in await self.session.execute(query)]
