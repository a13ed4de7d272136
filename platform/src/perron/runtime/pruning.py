"""Taking earlier checkpoints away: LangGraph's own prune, for threads that it can do that to."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.postgres.base import PRUNE_DELTA_THREADS_SQL

from perron.database.checkpoint_pool import CheckpointPool


async def keep_latest(pool: CheckpointPool, thread_id: UUID) -> None:
    """Delete all checkpoints of a thread but the newest of each namespace, in a transaction of its own.

    Hold the thread's lock meanwhile, and see before that it is none of `delta_threads`: LangGraph refuses those.
    """
    await AsyncPostgresSaver(pool).aprune([str(thread_id)], strategy="keep_latest")


async def delta_threads(pool: CheckpointPool, thread_ids: Sequence[UUID]) -> set[UUID]:
    """Return those threads that use a DeltaChannel: their state is read from all of their checkpoints."""
    ids = [str(thread_id) for thread_id in thread_ids]
    async with pool.connection() as connection:
        rows = await (await connection.execute(PRUNE_DELTA_THREADS_SQL, (ids, ids))).fetchall()
    return {UUID(row["thread_id"]) for row in rows}
