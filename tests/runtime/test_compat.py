"""Contracts with LangGraph: each says when one of our patches can go."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.pregel import _retry
from langgraph.pregel._loop import AsyncPregelLoop, SyncPregelLoop
from langgraph.types import RetryPolicy

from perron.runtime.compat import patch_loops, patch_retries


class State(TypedDict):
    said: str


def graph_with_an_unsaved_subgraph() -> Any:
    inner = StateGraph(State)
    inner.add_node("speak", lambda _: {"said": "hello"})
    inner.add_edge(START, "speak")
    outer = StateGraph(State)
    outer.add_node("inner", inner.compile(checkpointer=False))
    outer.add_edge(START, "inner")
    return outer.compile(checkpointer=InMemorySaver())


CONFIG = {"configurable": {"thread_id": "1"}}


async def test_a_subgraph_without_checkpointer_runs_with_durability_sync() -> None:
    patch_loops()
    graph = graph_with_an_unsaved_subgraph()

    assert await graph.ainvoke({"said": ""}, CONFIG, durability="sync") == {"said": "hello"}
    assert graph.invoke({"said": ""}, CONFIG, durability="sync") == {"said": "hello"}


async def test_langgraph_still_needs_the_patch_of_its_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_loops()
    monkeypatch.delattr(AsyncPregelLoop, "_put_checkpoint_fut")
    monkeypatch.delattr(SyncPregelLoop, "_put_checkpoint_fut")
    graph = graph_with_an_unsaved_subgraph()

    with pytest.raises(AttributeError, match="_put_checkpoint_fut"):
        await graph.ainvoke({"said": ""}, CONFIG, durability="sync")
    with pytest.raises(AttributeError, match="_put_checkpoint_fut"):
        graph.invoke({"said": ""}, CONFIG, durability="sync")


RETRY = RetryPolicy(initial_interval=0.001)


async def run_and_retry() -> list[str]:
    """Retry what calls a task and a subgraph, once each; return what ran in them."""
    ran: list[str] = []
    failed: set[str] = set()

    def fail_once(where: str) -> None:
        if where not in failed:
            failed.add(where)
            raise ConnectionError(where)

    @task
    async def speak() -> None:
        ran.append("task")

    @entrypoint(checkpointer=InMemorySaver(), retry_policy=RETRY)
    async def main(text: str) -> None:
        await speak()
        fail_once("entrypoint")

    async def inside(state: State) -> State:
        ran.append("subgraph")
        return state

    inner = StateGraph(State)
    inner.add_node("inside", inside)
    inner.add_edge(START, "inside")
    subgraph: Any = inner.compile()

    async def around(state: State) -> State:
        await subgraph.ainvoke(state)
        fail_once("node")
        return state

    outer = StateGraph(State)
    outer.add_node("around", around, retry_policy=RETRY)
    outer.add_edge(START, "around")
    graphs: list[Any] = [main, outer.compile(checkpointer=InMemorySaver())]
    for graph, given in zip(graphs, ["", {"said": ""}], strict=True):
        await graph.ainvoke(given, CONFIG, durability="sync")
    return ran


async def test_a_retried_node_finds_the_results_of_its_tasks_and_subgraphs() -> None:
    patch_retries()

    assert await run_and_retry() == ["task", "subgraph"]


async def test_langgraph_still_needs_the_patch_of_its_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_retries()
    patched: Any = _retry._reset_interrupt_counter
    monkeypatch.setattr(_retry, "_reset_interrupt_counter", patched.__wrapped__)

    assert await run_and_retry() == ["task", "task", "subgraph", "subgraph"]
