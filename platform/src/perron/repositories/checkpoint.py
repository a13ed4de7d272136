"""SQL over LangGraph's checkpoints: what its saver does not answer, and what it writes in one statement."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

PUT = """
    SELECT {schema}.put_checkpoints(
        %s::uuid[], %s::int[], %s::boolean[], %s::uuid[], %s::uuid[], %s::text[], %s::uuid[],
        %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::uuid[],
        %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::text[],
        %s::text[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[], %s::text[], %s::bytea[],
        %s::boolean[]
    ) AS lost
"""
"""Write what runs have to write, on a psycopg connection of the runtime's: see revision 0005 for the columns.

Returns the ids of runs that were left out, since they are not running under that epoch.
"""


class CheckpointRepository:
    """The checkpoints of threads, in LangGraph's own tables."""

    def __init__(self, session: AsyncSession, *, schema: str) -> None:
        self._session = session
        self._schema = schema

    async def find_newest(self, thread_id: UUID) -> str | None:
        """Return the id of the thread's newest checkpoint; None where it has none."""
        query = text(
            f"SELECT max(checkpoint_id) FROM {self._schema}.checkpoints"  # noqa: S608  # a checked identifier
            " WHERE thread_id = :thread_id AND checkpoint_ns = ''"
        )
        result: str | None = (await self._session.execute(query, {"thread_id": str(thread_id)})).scalar_one()
        return result

    async def get_interrupt_writes(self, thread_id: UUID) -> list[dict[str, Any]]:
        """Return the interrupts and resume values that tasks have stored, as LangGraph serialised them.

        Returns:
            Rows of checkpoint_ns, checkpoint_id, task_id, channel, type, blob.
        """
        query = text(
            "SELECT checkpoint_ns, checkpoint_id, task_id, channel, type, blob"  # noqa: S608  # a checked identifier
            f" FROM {self._schema}.checkpoint_writes"
            " WHERE thread_id = :thread_id AND channel IN ('__interrupt__', '__resume__')"
        )
        rows = await self._session.execute(query, {"thread_id": str(thread_id)})
        return [dict(row) for row in rows.mappings()]
