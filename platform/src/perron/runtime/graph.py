"""`open_graph`: an agent's graph, ready to run with the platform's checkpointer and store."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import AccessContext

from perron.errors import AgentError
from perron.plugins.agent import Agent
from perron.plugins.explain import explain
from perron.runtime import compat
from perron.runtime.factory import call_factory

Graph: TypeAlias = Pregel[Any, Any, Any, Any]

compat.patch_loops()
compat.patch_retries()

_compiled: WeakKeyDictionary[Agent, Graph] = WeakKeyDictionary()
"""Agents that are builders, compiled before: without a checkpointer, which belongs to one run."""


@asynccontextmanager
async def open_graph(
    agent: Agent,
    *,
    config: RunnableConfig | None = None,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    store: BaseStore | None = None,
    access: AccessContext = "threads.create_run",
    context: Any = None,
) -> AsyncIterator[Graph]:
    """Open an agent's graph for one use; a factory's context manager is left with the block.

    Args:
        config: What a factory may look at; the graph itself gets its config when it is invoked.
        checkpointer: Replaces the one that the graph was compiled with.
        store: Likewise.
        access: What the graph is opened for, in the SDK's words: factories may leave out what only runs need.
        context: The run's context, for factories.

    Raises:
        AgentError: The graph cannot be built; one sentence says why.
    """
    async with AsyncExitStack() as stack:
        try:
            built = await _build(agent, config or {}, store, access, context, stack)
        except AgentError:
            raise
        except Exception as exc:
            raise AgentError(
                f"The agent {agent.name!r} cannot be built: {explain(exc)}", agent=agent.name
            ) from exc
        # Not `Pregel.copy`: that makes the graph anew, which costs more and loses what `compile` found out about
        # the types of its state (`_serde_allowlist`): under strict msgpack they would come back as plain dicts.
        graph = copy.copy(built)
        graph.checkpointer = checkpointer
        graph.store = store
        yield graph


async def _build(
    agent: Agent,
    config: RunnableConfig,
    store: BaseStore | None,
    access: AccessContext,
    context: Any,
    stack: AsyncExitStack,
) -> Graph:
    built = agent.build
    if not isinstance(built, (Pregel, StateGraph)) and callable(built):
        runtime = compat.server_runtime(access, store=store or InMemoryStore(), context=context)
        built = await call_factory(built, config=config, runtime=runtime, stack=stack)
    if isinstance(built, StateGraph):
        if built is not agent.build:  # what a factory makes may differ from run to run
            return built.compile()
        if agent not in _compiled:
            _compiled[agent] = built.compile()
        return _compiled[agent]
    if isinstance(built, Pregel):
        return built
    made = "the factory returned" if callable(agent.build) else "it is"
    kind = "nothing" if built is None else f"an object of type {type(built).__name__}"
    raise AgentError(
        f"The agent {agent.name!r} has no graph: {made} {kind}, not a compiled graph or a StateGraph.",
        agent=agent.name,
    )
