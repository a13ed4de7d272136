"""The state of threads between runs: read it, look back, change it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.errors import InvalidUpdateError
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from perron.caller import Caller
from perron.database.encoding import clean
from perron.errors import (
    CheckpointMovedError,
    CheckpointNotFoundError,
    InvalidInputError,
    ThreadBusyError,
    ThreadNotFoundError,
)
from perron.ids import ThreadId
from perron.repositories.ask import AskRepository
from perron.repositories.checkpoint import CheckpointRepository
from perron.repositories.thread import ThreadRepository
from perron.runtime.checkpointer import FencedSaver, ThreadFence
from perron.runtime.execution import Services
from perron.runtime.graph import open_graph
from perron.runtime.packing import StreamEvent

_BUSY, _MOVED, _GONE = "PN002", "PN003", "PN004"


class ThreadStates:
    """Checkpoints of threads, through the graph that wrote them."""

    def __init__(self, shared: Services) -> None:
        self._shared = shared

    async def get(
        self, thread_id: ThreadId, graph_id: str, *, checkpoint_id: str | None = None, subgraphs: bool = False
    ) -> StateSnapshot:
        """Return the newest state, or that of a checkpoint.

        Raises:
            CheckpointNotFoundError: The thread does not have that one.
        """
        async with self._graph(thread_id, graph_id, checkpoint_id=checkpoint_id) as (graph, config):
            return await graph.aget_state(config, subgraphs=subgraphs)

    async def get_history(
        self, thread_id: ThreadId, graph_id: str, *, limit: int = 10, before: str | None = None
    ) -> list[StateSnapshot]:
        """Return the states of a thread, newest first; `before` is a checkpoint id."""
        async with self._graph(thread_id, graph_id) as (graph, config):
            bound: RunnableConfig | None = {"configurable": {"checkpoint_id": before}} if before else None
            return [state async for state in graph.aget_state_history(config, limit=limit, before=bound)]

    async def values_of(self, thread_id: ThreadId, graph_id: str, event: StreamEvent) -> Any:
        """Return the state that a `values` event stands for, as JSON, with the interrupts that it carried.

        Raises:
            CheckpointNotFoundError: The checkpoint is not there any more.
        """
        checkpoint_id, interrupts = event.payload.get("checkpoint_id"), event.payload.get("interrupts")
        values: Any = {}
        if checkpoint_id:
            async with self._graph(thread_id, graph_id) as (graph, config):
                config["configurable"].update(checkpoint_id=checkpoint_id, checkpoint_ns=event.namespace)
                state = await graph.aget_state(config)
                if state.created_at is None and not event.namespace:
                    raise CheckpointNotFoundError(thread_id, checkpoint_id)
                values = clean(state.values)[0]
        return {**values, "__interrupt__": interrupts} if interrupts and isinstance(values, dict) else values

    async def update(
        self,
        thread_id: ThreadId,
        graph_id: str,
        values: Any,
        *,
        as_node: str | None = None,
        checkpoint_id: str | None = None,
    ) -> RunnableConfig:
        """Write a checkpoint as if a node had returned `values`; from `checkpoint_id` on it is a fork.

        Raises:
            ThreadBusyError: A run of the thread is pending or running.
            CheckpointMovedError: Somebody else has written meanwhile.
            CheckpointNotFoundError: The thread does not have that one, or it was pruned meanwhile.
            InvalidInputError: The values do not fit the graph.
        """
        async with self._graph(thread_id, graph_id, checkpoint_id=checkpoint_id) as (graph, config):
            try:
                written = await graph.aupdate_state(config, values, as_node=as_node)
            except psycopg.Error as exc:
                raise _refused(thread_id, exc) from exc
            except (InvalidUpdateError, ValueError, KeyError, TypeError) as exc:
                raise InvalidInputError(f"The state of thread {thread_id} cannot be updated: {exc}") from exc
            newest = await graph.aget_state({"configurable": {"thread_id": str(thread_id)}})
            await self._show(thread_id, newest)
            return written

    async def _show(self, thread_id: ThreadId, state: StateSnapshot) -> None:
        """Bring the thread's row up to the state that was written: what waited before has another task id now."""
        async with self._shared.database.begin() as session:
            thread = await ThreadRepository(session, Caller.system()).find_any(thread_id, lock=True)
            if thread is not None and thread.status != "busy":
                thread.values = clean(state.values)[0]
                thread.status = thread.rest_status = "interrupted" if state.next else "idle"
                thread.interrupts = {}
                await AskRepository(session, Caller.system(thread.tenant)).drop_open(thread_id)

    @asynccontextmanager
    async def _graph(
        self, thread_id: ThreadId, graph_id: str, *, checkpoint_id: str | None = None
    ) -> AsyncIterator[tuple[Pregel[Any, Any, Any, Any], RunnableConfig]]:
        shared = self._shared
        agent = shared.registry.get_agent(graph_id)
        async with shared.database.begin() as session:
            checkpoints = CheckpointRepository(session, schema=shared.settings.langgraph_schema)
            # LangGraph takes one that is not there for an empty state.
            if checkpoint_id and not await checkpoints.has(thread_id, checkpoint_id):
                raise CheckpointNotFoundError(thread_id, checkpoint_id)
            newest = await checkpoints.find_newest(thread_id)
        fence = ThreadFence(
            thread_id,
            newest,
            schema=shared.database.schema,
            langgraph_schema=shared.settings.langgraph_schema,
            start=checkpoint_id,
        )
        config: RunnableConfig = {"configurable": {"thread_id": str(thread_id)}}
        if checkpoint_id:
            config["configurable"]["checkpoint_id"] = checkpoint_id
        async with open_graph(
            agent, config=config, checkpointer=FencedSaver(shared.pool, fence), store=shared.store
        ) as graph:
            yield graph, config


def _refused(thread_id: ThreadId, error: psycopg.Error) -> Exception:
    if error.sqlstate == _BUSY:
        return ThreadBusyError(thread_id)
    if error.sqlstate == _GONE:
        return ThreadNotFoundError(thread_id)
    if error.sqlstate == _MOVED:
        return CheckpointMovedError(
            f"The thread {thread_id} has moved on since it was read; look at it and try again.",
            thread_id=str(thread_id),
        )
    return error
