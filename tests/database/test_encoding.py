import dataclasses
import enum
import json
import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, SecretStr

from perron.database import encoding
from perron.database.encoding import MAX_DEPTH, clean, dumps, loads
from perron.database.url import DatabaseUrl

HOSTILE_TEXT = st.text(st.characters()) | st.sampled_from(["\x00", "a\x00b", "\ud800", "\udfff\x00", "\\u0000"])
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(HOSTILE_TEXT, inner),
    max_leaves=30,
)


@pytest.fixture(scope="module")
def connection(postgres_url: str) -> Any:
    with psycopg.connect(DatabaseUrl.parse(postgres_url).psycopg, autocommit=True) as connection:
        yield connection


def through_postgres(connection: psycopg.Connection, text: str) -> Any:
    row = connection.execute("SELECT %s::text::jsonb::text", [text]).fetchone()
    assert row is not None
    return loads(row[0])


def same(left: object, right: object) -> bool:
    """Equal as JSON: JSONB's numbers are decimals, so 1e16 comes back as an integer."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if type(left) in (int, float) and type(right) in (int, float):
        return left == right or repr(float(left)) == repr(float(right))  # type: ignore[arg-type]  # numbers both
    return left == right and type(left) is type(right)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON_LIKE)
def test_whatever_is_json_like_goes_into_jsonb_and_comes_out_as_cleaned(
    connection: psycopg.Connection, value: object
) -> None:
    cleaned, changed = clean(value)

    assert same(through_postgres(connection, dumps(value)), cleaned)
    assert dumps(cleaned) == dumps(value)
    assert changed != same(cleaned, value)
    assert clean(cleaned) == (cleaned, False)


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("a\x00b", "a\ufffdb"),
        ("\ud83d", "\ufffd"),
        (math.nan, None),
        ({"a": [math.inf, -math.inf]}, {"a": [None, None]}),
        ({"\x00": 1}, {"\ufffd": 1}),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        ([1 << 20_000], [hex(1 << 20_000)]),
        ({1: "a", "1": "b"}, {"1": "b"}),
    ],
)
def test_what_postgres_refuses_is_replaced_and_flagged(value: object, cleaned: object) -> None:
    assert clean(value) == (cleaned, True)
    assert loads(dumps(value)) == cleaned


class Colour(enum.StrEnum):
    RED = "red"


class Model(BaseModel):
    name: str
    messages: list[Any] = []


@dataclasses.dataclass
class Record:
    at: datetime
    colour: Colour


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (timedelta(seconds=90), 90.0),
        (Decimal("1.10"), "1.10"),
        (Path("/a/b"), "/a/b"),
        (b"\x00\xff", "AP8="),
        ({"b", "a"}, ["a", "b"]),
        ((1, 2), [1, 2]),
        (Point(1, 2), {"x": 1, "y": 2}),
        (OrderedDict(a=1), {"a": 1}),
        (
            {1: "a", False: "b", None: "c", 1.5: "d", Colour.RED: "e"},
            {"1": "a", "false": "b", "null": "c", "1.5": "d", "red": "e"},
        ),
        (
            Record(datetime(2026, 1, 2, tzinfo=UTC), Colour.RED),
            {"at": "2026-01-02T00:00:00+00:00", "colour": "red"},
        ),
        (Model(name="a"), {"name": "a", "messages": []}),
        (Send("node", {"a": Colour.RED}), {"node": "node", "arg": {"a": "red"}, "timeout": None}),
    ],
)
def test_known_types_have_a_json_form_and_count_as_unchanged(value: object, cleaned: object) -> None:
    assert clean(value) == (cleaned, False)
    assert loads(dumps(value)) == cleaned


def test_an_interrupt_keeps_value_and_id() -> None:
    cleaned, changed = clean(Interrupt(value={"q": 1}, id="ab"))

    assert cleaned.items() >= {"value": {"q": 1}, "id": "ab"}.items()
    assert not changed


def test_messages_keep_what_their_class_adds() -> None:
    call = {"name": "refund", "args": {"cents": 5}, "id": "c1", "type": "tool_call"}
    state = {"messages": [HumanMessage("hi"), Model(name="m", messages=[AIMessage("", tool_calls=[call])])]}

    cleaned, changed = clean(state)

    assert cleaned["messages"][0]["type"] == "human"
    assert cleaned["messages"][1]["messages"][0]["tool_calls"] == [call]
    assert not changed


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # a proxy without its object, as of werkzeug
        raise RuntimeError


class Endless:
    def model_dump(self, **_: object) -> object:
        return [Endless()]


@pytest.mark.parametrize(
    "make", [object, Hostile, Endless, ValueError, lambda: len, lambda: int, lambda: iter([1])]
)
def test_unknown_objects_become_text_and_never_raise(make: Callable[[], object]) -> None:
    value = make()

    cleaned, changed = clean({"it": value})

    assert changed
    assert json.loads(dumps({"it": value}))
    assert "it" in cleaned


def test_a_secret_stays_secret() -> None:
    class Login(BaseModel):
        token: SecretStr

    assert "canary" not in dumps({"login": Login(token=SecretStr("canary")), "bare": SecretStr("canary")})


def test_a_cycle_is_cut() -> None:
    loop: list[object] = [1]
    loop.append(loop)

    assert clean(loop) == ([1, "<list: contains itself>"], True)


def test_the_same_object_twice_is_no_cycle() -> None:
    shared = {"a": 1}

    assert clean([shared, shared]) == ([{"a": 1}, {"a": 1}], False)


def test_deep_nesting_is_cut(connection: psycopg.Connection) -> None:
    deep: object = "bottom"
    for _ in range(50_000):
        deep = [deep]

    cleaned, changed = clean(deep)

    assert changed
    assert f"nested deeper than {MAX_DEPTH}" in dumps(deep)
    assert through_postgres(connection, dumps(deep)) == cleaned


def test_a_document_that_postgres_cannot_store_is_left_out_and_flagged(
    connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "MAX_JSONB_BYTES", 1_000)

    cleaned, changed = clean([0] * 500)

    assert changed
    assert "more than PostgreSQL stores" in cleaned
    assert through_postgres(connection, dumps([0] * 500)) == cleaned
    assert clean("x" * 900) == ("x" * 900, False)
