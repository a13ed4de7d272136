"""SQL over PgQueuer's log and statistics, which it never deletes itself."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TABLES = ("pgqueuer_log", "pgqueuer_statistics")


class QueueLogRepository:
    """What the queue has written down of its jobs: a few rows each, and counts by the second."""

    def __init__(self, session: AsyncSession, *, schema: str) -> None:
        self._session = session
        self._schema = schema

    async def delete_old(self, *, age: timedelta, limit: int) -> bool:
        """Delete what is older, up to `limit` rows of each table; say whether there may be more."""
        deleted = 0
        for table in _TABLES:
            # Ids go by time: only the beginning is looked at, and no index on the time is needed.
            statement = text(f"""
                DELETE FROM "{self._schema}".{table} WHERE id = ANY (ARRAY (
                    SELECT first.id FROM (
                        SELECT id, created FROM "{self._schema}".{table} ORDER BY id LIMIT :limit
                        FOR UPDATE SKIP LOCKED
                    ) AS first WHERE first.created < now() - CAST(:age AS interval)
                )) RETURNING id
            """)  # noqa: S608  # a checked identifier
            rows = await self._session.execute(statement, {"age": age, "limit": limit})
            deleted = max(deleted, len(rows.all()))
        return deleted == limit
