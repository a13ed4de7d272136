"""SQL over the bytes that the database needs: by thread, and by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from perron.caller import Caller
from perron.models.base import Base
from perron.models.call import Call, CallAttempt
from perron.models.run import Run
from perron.models.run_event import RunEvent

_ROW_BYTES = 28
"""Header and line pointer of a row."""
_LANGGRAPH = {
    "checkpoints": (
        *("thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type", "checkpoint", "metadata"),
    ),
    "checkpoint_blobs": ("thread_id", "checkpoint_ns", "channel", "version", "type", "blob"),
    "checkpoint_writes": (
        *("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "task_path", "idx", "channel", "type", "blob"),
    ),
}
"""Table → its columns."""


@dataclass(frozen=True, slots=True)
class ThreadStorage:
    """What a thread needs, in bytes of its rows as they are stored, compressed and without indexes."""

    thread_id: UUID
    checkpoints: int
    blobs: int
    writes: int
    runs: int
    events: int
    calls: int
    """With their attempts."""
    total: int


@dataclass(frozen=True, slots=True)
class TableStorage:
    """What a table needs, in bytes on the disk, with its partitions."""

    schema: str
    table: str
    rows: int
    """As PostgreSQL estimates them; 0 where it has not looked yet."""
    data: int
    indexes: int
    total: int


class StorageRepository:
    """Reads whole tables: for people who ask. No value is fetched or decompressed for it."""

    def __init__(
        self, session: AsyncSession, caller: Caller, *, schema: str, langgraph_schema: str, queue_schema: str
    ) -> None:
        self._session = session
        self._caller = caller
        self._ours = schema
        self._langgraph = langgraph_schema
        self._queue = queue_schema

    async def get_threads(self, *, thread_id: UUID | None = None, limit: int) -> Sequence[ThreadStorage]:
        """Return the caller's threads, the largest first, or only one of them."""
        query = text(f"""
            SELECT t.thread_id, b.checkpoints, b.blobs, b.writes, b.runs, b.events, b.calls,
                b.checkpoints + b.blobs + b.writes + b.runs + b.events + b.calls AS total
            FROM {self._ours}.threads t
            LEFT JOIN ({self._by_thread(is_one=thread_id is not None)}) b ON b.thread_id = t.thread_id::text
            WHERE t.tenant = :tenant AND (CAST(:owner AS text) IS NULL OR t.owner = :owner)
                AND (CAST(:thread_id AS text) IS NULL OR t.thread_id::text = :thread_id)
            ORDER BY total DESC NULLS LAST, t.thread_id LIMIT :limit
        """)  # noqa: S608  # checked identifiers
        values = {
            "tenant": self._caller.tenant,
            "owner": None if self._caller.is_admin else self._caller.principal,
            "thread_id": None if thread_id is None else str(thread_id),
            "limit": limit,
        }
        rows = await self._session.execute(query, values)
        return [ThreadStorage(row[0], *(int(size or 0) for size in row[1:])) for row in rows]

    async def get_tables(self) -> Sequence[TableStorage]:
        """Return all tables of the three schemas, the largest first, whosever rows they hold."""
        query = text("""
            SELECT n.nspname, c.relname, sum(greatest(p.reltuples, 0))::bigint, sum(pg_table_size(p.oid))::bigint,
                sum(pg_indexes_size(p.oid))::bigint, sum(pg_total_relation_size(p.oid))::bigint AS total
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            CROSS JOIN LATERAL (
                SELECT p.oid, p.reltuples FROM pg_class p
                WHERE p.oid = c.oid OR p.oid IN (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf)
            ) p
            WHERE n.nspname = ANY (:schemas) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            GROUP BY n.nspname, c.relname ORDER BY total DESC, n.nspname, c.relname
        """)
        rows = await self._session.execute(query, {"schemas": [self._ours, self._langgraph, self._queue]})
        return [TableStorage(*row) for row in rows]

    def _by_thread(self, *, is_one: bool) -> str:
        """Return the query for the bytes of each thread, by the text of its id; those of others than ours too."""
        ours, langgraph = self._ours, self._langgraph
        of_run = f"JOIN {ours}.runs o USING (run_id)"
        of_call = f"JOIN {ours}.calls o USING (call_id)"
        parts = [
            ("checkpoints", "x.thread_id", f"{langgraph}.checkpoints x", _LANGGRAPH["checkpoints"]),
            ("blobs", "x.thread_id", f"{langgraph}.checkpoint_blobs x", _LANGGRAPH["checkpoint_blobs"]),
            ("writes", "x.thread_id", f"{langgraph}.checkpoint_writes x", _LANGGRAPH["checkpoint_writes"]),
            ("runs", "x.thread_id", f"{ours}.runs x", _columns(Run)),
            ("events", "o.thread_id", f"{ours}.run_events x {of_run}", _columns(RunEvent)),
            ("calls", "x.thread_id", f"{ours}.calls x", _columns(Call)),
            ("calls", "o.thread_id", f"{ours}.call_attempts x {of_call}", _columns(CallAttempt)),
        ]
        each = []
        for name, key, source, columns in parts:
            sizes = (f'coalesce(pg_column_size(x."{column}"), 0)' for column in columns)
            size = " + ".join([str(_ROW_BYTES), *sizes])
            given = f"CAST(:thread_id AS {'text' if columns in _LANGGRAPH.values() else 'uuid'})"
            where = f"WHERE {key} = {given}" if is_one else ""
            each.append(
                f"SELECT {key}::text AS thread_id, '{name}' AS part, sum({size}) AS size "  # noqa: S608
                f"FROM {source} {where} GROUP BY {key}"
            )
        names = dict.fromkeys(name for name, *_ in parts)
        sums = ", ".join(f"coalesce(sum(size) FILTER (WHERE part = '{name}'), 0) AS {name}" for name in names)
        return f"SELECT thread_id, {sums} FROM ({' UNION ALL '.join(each)}) p GROUP BY thread_id"  # noqa: S608


def _columns(model: type[Base]) -> tuple[str, ...]:
    return tuple(column.name for column in model.__table__.columns)
