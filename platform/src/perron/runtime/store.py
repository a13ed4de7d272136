"""LangGraph's store, as the graphs of all runs of a process share it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import psycopg
from langgraph.store.base import Op, Result
from langgraph.store.postgres.aio import AsyncPostgresStore
from typing_extensions import override

from perron.database.checkpoint_pool import CheckpointPool
from perron.database.outage import is_outage
from perron.errors import DatabaseUnavailableError


class GraphStore(AsyncPostgresStore):
    """Says of an outage that it is one of ours: a node's own database may fail with the same errors."""

    def __init__(self, pool: CheckpointPool) -> None:
        """Take the pool; a task of its own batches what nodes ask for, until `close`."""
        super().__init__(pool)

    @override
    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations at once; all others come to this one.

        Raises:
            DatabaseUnavailableError: The database was away; the run goes on when it is back.
        """
        try:
            return await super().abatch(ops)
        except psycopg.OperationalError as exc:
            if is_outage(exc):
                raise DatabaseUnavailableError(f"The store cannot be reached: {str(exc).strip()}") from exc
            raise

    async def close(self) -> None:
        """End the task, which the finaliser would leave to the garbage collector."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
