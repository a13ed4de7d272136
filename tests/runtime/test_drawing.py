"""Drawings and schemas of a graph."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

from langgraph.graph import END, START, MessagesState, StateGraph

from perron.runtime.agent_schemas import graph_schemas
from perron.runtime.drawing import draw_mermaid, draw_text


class State(MessagesState):
    paid: bool


@dataclass
class Context:
    model: str = "fake"


class Item(TypedDict):
    name: str


class Order(TypedDict):
    items: Annotated[list[Item], operator.add]
    note: NotRequired[str | None]
    first: NotRequired[Optional[Item]]  # noqa: UP045  # the older spelling, too


class Unknowable:
    """No type that Pydantic has a schema for."""


class Strange(TypedDict):
    thing: Unknowable


def decide(state: Any) -> Literal["refund", "answer"]:
    return "refund"


def sample() -> Any:
    graph = StateGraph(State, context_schema=Context)
    for name in ("read", "refund", "answer"):
        graph.add_node(name, lambda _: {})
    graph.add_edge(START, "read")
    graph.add_conditional_edges("read", decide, {"pay": "refund", "answer": "answer"})
    graph.add_edge("refund", "answer")
    graph.add_edge("answer", END)
    return graph.compile()


def test_text_shows_each_node_with_what_follows() -> None:
    assert draw_text(sample()).splitlines() == [
        "start → read",
        "read ┬→ answer   (if chosen)",
        "     └→ refund   (if pay)",
        "answer → end",
        "refund → answer",
    ]


def test_mermaid_is_a_flowchart() -> None:
    drawn = draw_mermaid(sample())

    assert "graph TD;" in drawn
    assert "refund --> answer;" in drawn


def test_schemas_tell_input_state_and_context_apart() -> None:
    schemas = graph_schemas(sample())

    assert set(schemas) == {"input", "output", "state", "context"}
    assert schemas["state"] is not None
    assert set(schemas["state"]["properties"]) == {"messages", "paid"}
    assert schemas["context"] is not None
    assert schemas["context"]["properties"]["model"]["default"] == "fake"


def test_a_plain_typed_dict_has_a_schema_on_every_python() -> None:
    graph = StateGraph(Order)
    graph.add_node("read", lambda _: {})
    graph.add_edge(START, "read")

    schemas = graph_schemas(graph.compile())

    for kind in ("input", "output"):
        schema = schemas[kind]
        assert schema is not None
        assert schema["required"] == ["items"]
        assert set(schema["properties"]) == {"items", "note", "first"}
        assert schema["$defs"]["Item"]["properties"]["name"]["type"] == "string"
    assert schemas["state"] is not None


def test_a_schema_that_cannot_be_derived_is_null() -> None:
    graph = StateGraph(Strange)
    graph.add_node("read", lambda _: {})
    graph.add_edge(START, "read")

    assert graph_schemas(graph.compile()) == {"input": None, "output": None, "state": None, "context": None}
