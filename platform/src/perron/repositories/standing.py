"""SQL over threads that wait: where their checkpoints stand, and what their calls need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from perron.caller import Caller

_BATCH = 500


@dataclass(frozen=True, slots=True)
class WaitingChannel:
    """A channel of a waiting thread's checkpoint that may trigger a node."""

    thread_id: UUID
    run_id: UUID | None
    checkpoint_ns: str
    channel: str
    encoding: str | None
    """How `blob` is to be read; None where the value stands in the checkpoint itself."""
    blob: bytes | None


@dataclass(frozen=True, slots=True)
class UnsettledCall:
    """A call of a waiting thread that is not settled yet."""

    thread_id: UUID
    run_id: UUID
    call_id: UUID
    operation: str
    state: str
    node: str


class StandingRepository:
    """Threads of the caller that will go on where they stand: waiting for a person, or with a run in line."""

    def __init__(self, session: AsyncSession, caller: Caller, *, schema: str, langgraph_schema: str) -> None:
        self._session = session
        self._values = {"tenant": caller.tenant, "owner": None if caller.is_admin else caller.principal}
        self._langgraph = langgraph_schema
        # A run with new input leaves behind what waited. Shown is the head of the line, or the last run.
        self._waiting = f"""
            WITH waiting AS (
                SELECT t.thread_id, r.run_id FROM {schema}.threads t LEFT JOIN LATERAL (
                    SELECT r.*, r.status IN ('pending', 'running') AS is_active FROM {schema}.runs r
                    WHERE r.thread_id = t.thread_id
                    ORDER BY CASE WHEN r.status IN ('pending', 'running') THEN r.seq END, r.seq DESC LIMIT 1
                ) r ON true
                WHERE t.tenant = :tenant AND (CAST(:owner AS text) IS NULL OR t.owner = :owner)
                    AND CASE WHEN r.is_active
                        THEN r.graph_id = :graph_id AND (r.input_applied OR r.kwargs ->> 'input' IS NULL)
                        ELSE t.status = 'interrupted'
                            AND coalesce(r.graph_id, t.metadata ->> 'graph_id') = :graph_id
                    END
            )
        """  # noqa: S608  # checked identifiers
        self._calls = f"{schema}.calls"

    async def stream_channels(self, graph_id: str) -> AsyncIterator[WaitingChannel]:
        """Yield what may trigger nodes of the threads of an agent, through a server-side cursor, by thread.

        Of subgraphs only those that belong to the thread's newest checkpoint.
        """
        query = f"""
            {self._waiting}
            SELECT w.thread_id, w.run_id, c.checkpoint_ns, v.channel, b.type, b.blob
            FROM waiting w
            CROSS JOIN LATERAL (
                SELECT c.checkpoint_ns, max(c.checkpoint_id) AS checkpoint_id,
                    max(max(c.checkpoint_id) FILTER (WHERE c.checkpoint_ns = '')) OVER () AS root_id
                FROM {self._langgraph}.checkpoints c WHERE c.thread_id = w.thread_id::text GROUP BY c.checkpoint_ns
            ) n
            JOIN {self._langgraph}.checkpoints c ON c.thread_id = w.thread_id::text
                AND c.checkpoint_ns = n.checkpoint_ns AND c.checkpoint_id = n.checkpoint_id
            CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v (channel, version)
            LEFT JOIN {self._langgraph}.checkpoint_blobs b ON b.thread_id = c.thread_id
                AND b.checkpoint_ns = c.checkpoint_ns AND b.channel = v.channel AND b.version = v.version
            WHERE (c.checkpoint_ns = '' OR c.metadata -> 'parents' ->> '' = n.root_id)
                AND CASE WHEN v.channel LIKE 'branch:to:%' THEN c.checkpoint -> 'channel_values' ? v.channel
                    ELSE v.channel LIKE 'join:%' OR v.channel = '__pregel_tasks' END
            ORDER BY w.thread_id, c.checkpoint_ns, v.channel
        """  # noqa: S608  # checked identifiers
        async for row in self._stream(query, graph_id):
            yield WaitingChannel(*row)

    async def stream_unsettled(self, graph_id: str) -> AsyncIterator[UnsettledCall]:
        """Yield the unsettled calls of the threads of an agent, through a server-side cursor, by thread."""
        query = f"""
            {self._waiting}
            SELECT c.thread_id, c.run_id, c.call_id, c.operation, c.state, c.node
            FROM waiting w JOIN {self._calls} c ON c.thread_id = w.thread_id
            WHERE c.state IN ('begun', 'sent', 'in_doubt')
            ORDER BY c.thread_id, c.call_id
        """  # noqa: S608  # checked identifiers
        async for row in self._stream(query, graph_id):
            yield UnsettledCall(*row)

    async def _stream(self, query: str, graph_id: str) -> AsyncIterator[tuple[Any, ...]]:
        await self._session.execute(text("SET LOCAL transaction_timeout = 0"))
        statement = text(query).execution_options(yield_per=_BATCH)
        async for row in await self._session.stream(statement, {**self._values, "graph_id": graph_id}):
            yield tuple(row)
