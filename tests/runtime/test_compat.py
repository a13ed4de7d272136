"""Contracts with LangGraph: each says when one of our patches can go."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel._loop import AsyncPregelLoop, SyncPregelLoop

from perron.runtime.compat import patch_loops


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
