"""Graphs in every form in which an agent may give them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph._internal import _serde
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph_sdk.runtime import ServerRuntime

from perron.errors import AgentError
from perron.plugins.agent import Agent
from perron.runtime.graph import open_graph


class State(TypedDict):
    said: str


@dataclass
class Note:
    text: str


class Noted(TypedDict):
    note: Note


def builder(answer: str = "hello") -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    graph.add_node("speak", lambda _: {"said": answer})
    graph.add_edge(START, "speak")
    graph.add_edge("speak", END)
    return graph


@entrypoint()
def functional(text: str) -> dict[str, str]:
    return {"said": "hello"}


async def said(build: Any, **options: Any) -> str:
    """Open an agent of this graph or factory with our checkpointer, run it, and return what it said."""
    saver, store = InMemorySaver(), InMemoryStore()
    async with open_graph(Agent("a", build), checkpointer=saver, store=store, **options) as graph:
        assert graph.checkpointer is saver
        assert graph.store is store
        config: RunnableConfig = {"configurable": {"thread_id": "1"}}
        result = await graph.ainvoke({"said": ""}, config, durability="sync")
    assert saver.get(config) is not None
    return str(result["said"])


def no_arguments() -> Any:
    return builder().compile()


def by_place(anything: Any) -> Any:
    return builder(anything["configurable"]["name"])


def by_annotation(server: ServerRuntime[Any], settings: RunnableConfig) -> Any:
    return builder(f"{settings['configurable']['name']} for {server.access_context}")


def by_name(*, runtime: Any, config: Any, option: int = 5) -> Any:
    return builder(f"{config['configurable']['name']} with {runtime.execution_runtime.context}")


async def asynchronous(config: RunnableConfig, runtime: Any) -> Any:
    return builder(type(runtime.store).__name__)


class Callable:
    async def __call__(self, config: RunnableConfig) -> Any:
        return builder(config["configurable"]["name"])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (builder(), "hello"),
        (builder().compile(), "hello"),
        (builder().compile(checkpointer=InMemorySaver()), "hello"),
        (functional, "hello"),
        (builder, "hello"),
        (no_arguments, "hello"),
        (by_place, "Ada"),
        (by_annotation, "Ada for threads.create_run"),
        (by_name, "Ada with a context"),
        (asynchronous, "InMemoryStore"),
        (Callable(), "Ada"),
    ],
)
async def test_a_graph_runs_with_our_checkpointer_in_every_form(build: Any, expected: str) -> None:
    config: RunnableConfig = {"configurable": {"name": "Ada"}}

    assert await said(build, config=config, context="a context") == expected


async def test_a_context_manager_is_left_with_the_block() -> None:
    entered: list[str] = []

    @contextlib.asynccontextmanager
    async def asynchronous(config: RunnableConfig) -> AsyncIterator[Any]:
        entered.append("in")
        yield builder()
        entered.append("out")

    @contextlib.contextmanager
    def plain() -> Iterator[Any]:
        entered.append("in")
        try:
            yield builder()
        finally:
            entered.append("out")

    for build in (asynchronous, plain):
        entered.clear()
        async with open_graph(Agent("a", build)):
            assert entered == ["in"]
        assert entered == ["in", "out"]

    with pytest.raises(ZeroDivisionError):
        async with open_graph(Agent("a", plain)):
            1 / 0  # noqa: B018  # the block's own error is nobody else's


async def test_reading_is_told_apart_from_running() -> None:
    def build(runtime: ServerRuntime[Any]) -> Any:
        assert runtime.execution_runtime is None
        return builder(runtime.access_context)

    async with open_graph(Agent("a", build), access="assistants.read") as graph:
        assert (await graph.ainvoke({"said": ""}))["said"] == "assistants.read"


async def test_two_openings_share_no_checkpointer() -> None:
    agent = Agent("a", builder())
    first, second = InMemorySaver(), InMemorySaver()

    async with open_graph(agent, checkpointer=first) as one, open_graph(agent, checkpointer=second) as other:
        assert one.checkpointer is first
        assert other.checkpointer is second
        assert one.nodes is other.nodes  # compiled once


def raising() -> Any:
    raise KeyError("MODEL")


def wants_too_much(config: Any, runtime: Any, model: Any) -> Any: ...


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (raising, r"The agent 'a' cannot be built: KeyError: 'MODEL' \(test_graph.py, line \d+\)\."),
        (wants_too_much, "wants an argument 'model'"),
        (lambda: {"nodes": []}, "has no graph: the factory returned an object of type dict"),
        (lambda: None, "the factory returned nothing, not a compiled graph"),
        (5, "it is an object of type int, not a compiled graph"),
    ],
)
async def test_what_is_no_graph_is_refused_with_a_sentence(build: Any, reason: str) -> None:
    with pytest.raises(AgentError, match=reason):
        async with open_graph(Agent("a", build)):
            pass


async def test_the_types_of_a_state_stay_known_under_strict_msgpack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serde, "STRICT_MSGPACK_ENABLED", True)
    graph = StateGraph(Noted)
    graph.add_node("note", lambda _: {"note": Note("x")})
    graph.add_edge(START, "note")
    compiled = graph.compile()
    assert compiled.copy()._serde_allowlist is None  # why `open_graph` does not use LangGraph's own copy

    async with open_graph(Agent("a", compiled)) as opened:
        assert (Note.__module__, "Note") in (opened._serde_allowlist or ())
