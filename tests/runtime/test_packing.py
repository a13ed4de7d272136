"""Token events that are packed into one row, and come out again."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perron.ids import new_id
from perron.models.run_event import RunEvent
from perron.runtime.packing import MOST, StreamEvent, pack, unpack

RUN_ID = new_id()

chunks = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", None]), "content": st.text(max_size=3)},
    optional={
        "usage_metadata": st.none() | st.integers(),
        "tool_call_chunks": st.lists(st.integers(), max_size=1),
    },
)
abouts = st.sampled_from([{"langgraph_node": "one"}, {"langgraph_node": "two"}, {}])
tokens = st.lists(st.tuples(st.sampled_from(["", "sub:1"]), chunks, abouts, st.integers(1, 2)), min_size=1)


def row(epoch: int, n: int, message: Any, about: Any = None, namespace: str = "") -> RunEvent:
    payload = [message, about or {}]
    return RunEvent(
        run_id=RUN_ID, epoch=epoch, n=n, n_first=n, event="messages", namespace=namespace, payload=payload
    )


def events(rows: list[RunEvent]) -> list[StreamEvent]:
    return [event for row in rows for event in unpack(row)]


@settings(max_examples=50)
@given(tokens)
def test_each_event_comes_out_as_it_was(given_tokens: list[Any]) -> None:
    rows, n = [], 0
    for namespace, message, about, step in given_tokens:
        n += step  # 2: another event stood in between
        rows.append(row(1, n, message, about, namespace))

    packed = pack(rows)

    held = {n for each in packed for n in range(each.n_first, each.n + 1)}
    assert events(packed) == events([each for each in rows if each.n in held])
    alone = [each.n for each in rows if each.n not in held]
    assert all(n - 1 not in alone and n + 1 not in alone for n in alone)
    assert all(n - 1 not in held and n + 1 not in held for n in alone)


def test_a_series_ends_with_its_epoch_and_when_it_is_long() -> None:
    message = {"id": "a", "content": "x"}
    rows = [row(1, n, message) for n in range(1, 4)] + [row(2, n, message) for n in range(1, MOST + 3)]

    packed = pack(rows)

    assert [(each.epoch, each.n_first, each.n) for each in packed] == [(1, 1, 3), (2, 1, 500), (2, 501, 502)]


def test_what_tokens_have_in_common_is_written_once() -> None:
    about = {"langgraph_node": "say", "langgraph_checkpoint_ns": "say:1"}
    messages = [{"id": "ab"[n % 2], "content": str(n), "type": "AIMessageChunk"} for n in range(1, 9)]
    rows = [row(1, n, message, about) for n, message in enumerate(messages, start=1)]

    [packed] = pack(rows)

    assert packed.payload == {
        "bases": [("", messages[0], about), ("", messages[1], about)],
        "tokens": [(0, {}), (1, {}), *((1 - n % 2, {"content": str(n)}) for n in range(3, 9))],
    }


def test_what_python_finds_equal_stays_what_it_was() -> None:
    values = [0, False, 0.0, True, 1, 1.0, {"a": [1]}, {"a": [True]}]
    messages = [{"id": "a", "content": "", "additional_kwargs": value} for value in values]
    rows = [row(1, n, message) for n, message in enumerate(messages, start=1)]
    rows += [row(1, n, {"id": "b"}, {"step": value}) for n, value in enumerate(values, start=len(rows) + 1)]

    assert repr(events(pack(rows))) == repr(events(rows))
