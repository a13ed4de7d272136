"""What is put around each node of a graph: a look at the lease, a count of its starts, the asks it swallowed."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.pregel import Pregel
from langgraph.runtime import Runtime
from typing_extensions import override

from perron.runtime.location import starts

Swallowed = Callable[[str], BaseException | None]
"""Task id → the interrupt that the node owes, when an author's `except Exception` ate it."""


class GuardedNode(Runnable[Any, Any]):
    """A node's own runnable, watched."""

    def __init__(
        self,
        bound: Runnable[Any, Any],
        check_lease: Callable[[], None],
        swallowed: Swallowed,
        counts: Counter[str],
    ) -> None:
        self._bound = bound
        self._check_lease = check_lease
        self._swallowed = swallowed
        self._counts = counts
        self.name = bound.get_name()

    @override
    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        with self._watch(config):
            return self._bound.invoke(input, config, **kwargs)

    @override
    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        with self._watch(config):
            return await self._bound.ainvoke(input, config, **kwargs)

    @override
    async def atransform(
        self,
        input: AsyncIterator[Any],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        with self._watch(config):
            async for chunk in self._bound.atransform(input, config, **kwargs):
                yield chunk

    @contextmanager
    def _watch(self, config: RunnableConfig | None) -> Iterator[None]:
        self._check_lease()
        runtime = (config or {}).get("configurable", {}).get("__pregel_runtime")
        info = runtime.execution_info if isinstance(runtime, Runtime) else None
        task_id = info.task_id if info else ""
        self._counts[task_id] += 1
        token = starts.set({**starts.get({}), task_id: self._counts[task_id]})
        owed: BaseException | None = None
        try:
            try:
                yield
            finally:
                starts.reset(token)
                owed = self._swallowed(task_id)  # at every end: what the task calls later is a new attempt's
        except GraphBubbleUp:
            raise
        except Exception as exc:
            if owed is not None:
                raise owed from exc
            raise
        if owed is not None:
            raise owed


def guard_nodes(
    graph: Pregel[Any, Any, Any, Any],
    *,
    check_lease: Callable[[], None],
    swallowed: Swallowed,
    counts: Counter[str] | None = None,
) -> Pregel[Any, Any, Any, Any]:
    """Return a copy of the graph for one execution whose nodes are watched, those of subgraphs too.

    Args:
        check_lease: Raises when others may execute the run now: then no node begins.
    """
    counts = Counter() if counts is None else counts
    nodes = {}
    for name, node in graph.nodes.items():
        if name == "__start__":
            continue
        bound, subgraphs = node.bound, node.subgraphs
        if isinstance(bound, Pregel):
            bound = guard_nodes(bound, check_lease=check_lease, swallowed=swallowed, counts=counts)
            subgraphs = [bound]
        nodes[name] = node.copy(
            {"bound": GuardedNode(bound, check_lease, swallowed, counts), "subgraphs": subgraphs}
        )
    # A plain copy: `Pregel.copy` makes the graph anew and loses the types that its state may hold.
    guarded = copy.copy(graph)
    guarded.nodes = {**graph.nodes, **nodes}
    return guarded
