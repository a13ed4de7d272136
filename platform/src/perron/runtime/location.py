"""Where in a graph the running code stands: task, namespace, attempt, tool call."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig, ensure_config
from langgraph.runtime import Runtime

from perron.errors import OutsidePlatformError
from perron.integrations.run.context import TaskRef

starts: ContextVar[dict[str, int]] = ContextVar("perron_node_starts")
"""Task id → how often its code has started in this execution, for the guarded nodes around the running code."""

_STARTS_OF_A_PARENT = 1_000
"""Weighs a parent's start above any count of attempts inside it."""


class ToolCalls(BaseCallbackHandler):
    """Remembers the tool_call_id of each running tool; an author's own tool has none in its config."""

    run_inline = True  # before the tool's body runs, in the same context

    def __init__(self) -> None:
        self.by_run: dict[UUID, str] = {}

    def on_tool_start(self, serialized: dict[str, Any], input_str: str, *, run_id: UUID, **kwargs: Any) -> None:
        """Note which call this run of a tool answers."""
        if tool_call_id := kwargs.get("tool_call_id"):
            self.by_run[run_id] = str(tool_call_id)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Forget a tool's run."""
        self.by_run.pop(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Forget a tool's run."""
        self.by_run.pop(run_id, None)


class Locator:
    """Finds the task of the calling code from LangGraph's config of the current context."""

    def __init__(self, namespaces: set[str]) -> None:
        self._namespaces = namespaces
        self.tool_calls = ToolCalls()
        self.inside: dict[str, set[str]] = {}
        """Task id → the tasks inside it that calls belong to, of graphs that its code runs."""

    def __call__(self) -> TaskRef:
        """Return the innermost task whose graph writes checkpoints.

        A subgraph with `checkpointer=False` is run anew with other task ids at each attempt, so calls in it
        belong to the task around it.
        """
        config = ensure_config()
        configurable = config.get("configurable", {})
        checkpoints = configurable.get("checkpoint_map") or {}
        levels = _levels(str(configurable.get("checkpoint_ns", "")))
        for depth in reversed(range(len(levels))):
            around_ns, node, task_id = levels[depth]
            graph_ns = self._graph_ns(around_ns, checkpoints)
            if graph_ns is not None:
                for _, _, around in levels[:depth]:
                    self.inside.setdefault(around, set()).add(task_id)
                return TaskRef(
                    task_id=task_id,
                    checkpoint_ns=graph_ns,
                    node=node,
                    attempt=_attempt(config, task_id),
                    tool_call_id=self._tool_call_id(config),
                    checkpoints={ns: i for ns, i in checkpoints.items() if graph_ns.startswith(ns)},
                )
        raise OutsidePlatformError("A call")

    def _graph_ns(self, around_ns: str, checkpoints: Mapping[str, str]) -> str | None:
        """Return the namespace of the graph whose tasks stand in `around_ns`; None where it writes no checkpoints.

        A `@task` stands inside the task that called it, and both belong to one graph: LangGraph notes the same
        checkpoint for either.
        """
        if not around_ns or around_ns in self._namespaces:
            return around_ns
        graph_ns = self._graph_ns(around_ns.rpartition("|")[0], checkpoints)
        if graph_ns is None or around_ns not in checkpoints:
            return None
        return graph_ns if checkpoints[around_ns] == checkpoints.get(graph_ns) else None

    def _tool_call_id(self, config: RunnableConfig) -> str:
        parent = getattr(config.get("callbacks"), "parent_run_id", None)
        return self.tool_calls.by_run.get(parent, "") if parent else ""


def _levels(checkpoint_ns: str) -> list[tuple[str, str, str]]:
    """Split `a:1|b:2` into (namespace of the graph, node, task id) for each task, outermost first."""
    levels = []
    parts = checkpoint_ns.split("|") if checkpoint_ns else []
    for i, part in enumerate(parts):
        node, colon, task_id = part.rpartition(":")
        if colon:  # a bare number tells apart the subgraphs that one task runs
            levels.append(("|".join(parts[:i]), node, task_id))
    return levels


def _attempt(config: RunnableConfig, task_id: str) -> int:
    around = starts.get({})
    if task_id in around:
        return around[task_id]
    runtime = config.get("configurable", {}).get("__pregel_runtime")
    info = runtime.execution_info if isinstance(runtime, Runtime) else None
    inside = info.node_attempt if info is not None and info.task_id == task_id else 1
    return (max(around.values(), default=1) - 1) * _STARTS_OF_A_PARENT + inside
