"""SQL over LangGraph's checkpoints: what its saver does not answer, and what it writes in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

PUT = "SELECT {schema}.put_checkpoints(%s::jsonb, %b::bytea[]) AS lost"
"""Write what runs have to write, on a psycopg connection of the runtime's: rows as JSON, by table, and the bytes
that they point to. See revision 0006 for their fields.

Returns the holders (`<run id>/<epoch>`) that were left out: the run is not running under that epoch.
"""


_COPIED = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "checkpoint_blobs": "checkpoint_ns, channel, version, type, blob",
    "checkpoint_writes": "checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob",
}
"""Table → its columns but for the thread's id."""


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

    async def find_latest(self, thread_id: UUID) -> str | None:
        """Return the id of the latest checkpoint of the thread or of a subgraph in it; None where it has none."""
        query = text(
            f"SELECT max(checkpoint_id) FROM {self._schema}.checkpoints"  # noqa: S608  # a checked identifier
            " WHERE thread_id = :thread_id"
        )
        result: str | None = (await self._session.execute(query, {"thread_id": str(thread_id)})).scalar_one()
        return result

    async def has(self, thread_id: UUID, checkpoint_id: str) -> bool:
        """Whether the thread has this checkpoint; those of its subgraphs do not count."""
        query = text(
            f"SELECT EXISTS (SELECT FROM {self._schema}.checkpoints"  # noqa: S608  # a checked identifier
            " WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :checkpoint_id)"
        )
        values = {"thread_id": str(thread_id), "checkpoint_id": checkpoint_id}
        result: bool = (await self._session.execute(query, values)).scalar_one()
        return result

    async def has_of_runs(self, thread_id: UUID, checkpoint_id: str, run_ids: Sequence[UUID]) -> bool:
        """Whether one of these runs has written this checkpoint of the thread."""
        query = text(
            f"SELECT EXISTS (SELECT FROM {self._schema}.checkpoints"  # noqa: S608  # a checked identifier
            " WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :checkpoint_id"
            " AND metadata ->> 'run_id' = ANY (:run_ids))"
        )
        values = {
            "thread_id": str(thread_id),
            "checkpoint_id": checkpoint_id,
            "run_ids": [str(run_id) for run_id in run_ids],
        }
        result: bool = (await self._session.execute(query, values)).scalar_one()
        return result

    async def delete(self, thread_ids: Sequence[UUID]) -> None:
        """Delete all that LangGraph has stored of these threads."""
        values = {"thread_ids": [str(thread_id) for thread_id in thread_ids]}
        for table in ("checkpoint_writes", "checkpoint_blobs", "checkpoints"):
            statement = f"DELETE FROM {self._schema}.{table} WHERE thread_id = ANY(:thread_ids)"  # noqa: S608
            await self._session.execute(text(statement), values)

    async def copy(self, thread_id: UUID, *, to: UUID) -> None:
        """Give another thread all that LangGraph has stored of this one: the whole history with its writes."""
        for table, columns in _COPIED.items():
            statement = f"""
                INSERT INTO {self._schema}.{table} (thread_id, {columns})
                SELECT :to, {columns} FROM {self._schema}.{table} WHERE thread_id = :thread_id
            """  # noqa: S608  # checked identifiers
            await self._session.execute(text(statement), {"thread_id": str(thread_id), "to": str(to)})

    async def get_interrupts(self, thread_id: UUID) -> list[dict[str, Any]]:
        """Return what each task asked last, as LangGraph serialised it, and whether it has ended since.

        Returns:
            Rows of checkpoint_ns, task_id, type, blob, is_finished.
        """
        # A task has ended when it has stored anything but control writes: see langgraph.pregel._task_status.
        query = text(f"""
            SELECT w.checkpoint_ns, w.task_id, w.type, w.blob, EXISTS (
                SELECT FROM {self._schema}.checkpoint_writes AS o
                WHERE o.thread_id = w.thread_id AND o.checkpoint_ns = w.checkpoint_ns
                    AND o.checkpoint_id = w.checkpoint_id AND o.task_id = w.task_id
                    AND o.channel NOT IN ('__interrupt__', '__resume__', '__error__', '__error_source_node__')
            ) AS is_finished
            FROM {self._schema}.checkpoint_writes AS w
            WHERE w.thread_id = :thread_id AND w.channel = '__interrupt__'
        """)  # noqa: S608  # a checked identifier
        rows = await self._session.execute(query, {"thread_id": str(thread_id)})
        return [dict(row) for row in rows.mappings()]
