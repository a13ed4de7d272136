"""Results of tasks that a crash would turn into something else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from perron.errors import AgentError
from perron.runtime.stored import check_writes, fit_for_jsonb

STRICT = JsonPlusSerializer(allowed_msgpack_modules=None)
SENT, RETURNED = "__pregel_tasks", "__return__"


@dataclass
class Parcel:
    weight: int


class Label(BaseModel):
    text: str


class Size(NamedTuple):
    height: int


@pytest.mark.parametrize("channel", [SENT, RETURNED])
@pytest.mark.parametrize(
    "value",
    [
        {"n": [1, "a", None, 1.5, True], "b": b"raw", "pair": (1, 2)},
        [AIMessage("hi", tool_calls=[{"name": "t", "args": {}, "id": "1"}])],
        (Interrupt(value={"question": "ok?"}, id="0" * 32),),
        Send("node", {"n": 1}),
        Send("node", {"messages": [AIMessage("hi")]}),
        {1, 2},
        "text",
    ],
)
def test_a_result_that_comes_back_as_it_was_is_taken(channel: str, value: Any) -> None:
    check_writes([(channel, value)], STRICT)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Parcel(3), "Parcel"),
        ({"parcels": [Parcel(3)]}, "Parcel"),
        ((1, [Label(text="fragile")]), "Label"),
        (Size(3), "Size"),
        ({"at": [Interrupt(value=Parcel(3), id="0" * 32)]}, "Parcel"),
    ],
)
def test_a_result_that_would_come_back_as_another_type_is_refused(value: Any, kind: str) -> None:
    with pytest.raises(AgentError, match=rf"`@task` returns holds a .*{kind}.*TypedDict"):
        check_writes([("other", "plain"), (RETURNED, value)], STRICT)
    with pytest.raises(AgentError, match=rf"`Send` hands on holds a .*{kind}.*TypedDict"):
        check_writes([(SENT, Send("node", value))], STRICT)


def test_a_type_that_the_graph_declares_is_taken() -> None:
    declares = STRICT.with_msgpack_allowlist([Parcel, Label])

    check_writes([(SENT, Send("node", Parcel(3))), (RETURNED, [Label(text="fragile")])], declares)


def test_what_a_schema_describes_is_not_looked_at() -> None:
    check_writes([("structured_response", Label(text="fragile"))], STRICT)


def test_only_what_postgresql_refuses_is_replaced() -> None:
    inner = ["\x00"]
    values = {"nul": "a\x00", "half": "\ud800b", "nan": float("nan"), "text": "Zürich", "n": 1.5, "list": inner}

    fit = fit_for_jsonb(values)

    assert fit == {"nul": "a\ufffd", "half": "\ufffdb", "nan": None, "text": "Zürich", "n": 1.5, "list": inner}
    assert fit["list"] is inner


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "back"),
    [
        *((value, value) for value in (b"raw", {1}, date(2026, 1, 2), UUID(int=1), Decimal("1.5"), Path("/a"))),
        *((value, value) for value in (timedelta(1), AIMessage("hi"), Document(page_content="text"))),
        (Parcel(3), {"weight": 3}),
        (Label(text="fragile"), {"text": "fragile"}),
        (Size(3), {"height": 3}),
        (Color.RED, "red"),
        ((1, 2), [1, 2]),
    ],
)
def test_what_an_undeclared_value_comes_back_as(value: Any, back: Any) -> None:
    """As the how-to for agents tells it."""
    read = STRICT.loads_typed(STRICT.dumps_typed({"value": value}))["value"]

    assert (type(read), read) == (type(back), back)
