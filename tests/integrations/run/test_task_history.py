"""Which recorded call a call is."""

from __future__ import annotations

from typing import Any

import pytest

from perron import clock
from perron.ids import new_id
from perron.integrations.run.task_history import Match, Place, TaskHistory, is_other_superstep
from perron.repositories.recorded import RecordedCall


def make_row(slot: str, fingerprint: bytes, *, state: str = "done", **values: Any) -> RecordedCall:
    defaults: dict[str, Any] = {
        "call_id": new_id(),
        "run_id": new_id(),
        "task_id": "task",
        "tool_call_id": "",
        "operation": "desk.refund",
        "slot": slot,
        "node": "pay",
        "checkpoints": {"": "c1"},
        "fingerprint": fingerprint,
        "effect": "create",
        "state": state,
        "idempotency_key": None,
        "error": None,
        "sealed": b"",
        "created_at": clock.now(),
        "has_attempts": True,
    }
    return RecordedCall(**{**defaults, **values})


def match(rows: list[RecordedCall], *fingerprints: bytes) -> list[Match]:
    """Match calls that have all begun, in the order of the code."""
    history = TaskHistory("task", rows)
    places = [Place("", "desk.refund", i, f) for i, f in enumerate(fingerprints, start=1)]
    return [history.match(place, [p for p in places if not p.is_matched]) for place in places]


def test_a_first_call_has_its_place() -> None:
    assert match([], b"a", b"b") == [Match("#1"), Match("#2")]


def test_the_same_place_and_arguments_are_the_same_call() -> None:
    rows = [make_row("#1", b"a"), make_row("#2", b"a")]

    assert [m.row for m in match(rows, b"a", b"a")] == rows


def test_arguments_say_which_call_it_is_when_the_order_changed() -> None:
    rows = [make_row("#1", b"a"), make_row("#2", b"b")]

    assert [m.row for m in match(rows, b"b", b"a")] == [rows[1], rows[0]]


def test_of_calls_with_the_same_arguments_the_one_in_its_place_is_meant() -> None:
    rows = [make_row("#2", b"a")]  # the process died before the first of the two was recorded

    first, second = match(rows, b"a", b"a")

    assert (first.slot, first.row) == ("#1", None)
    assert second.row is rows[0]


def test_what_another_call_means_exactly_is_no_rival() -> None:
    rows = [make_row("#1", b"a")]

    new, old = match(rows, b"new", b"a")

    assert (new.row, new.rival) == (None, None)
    assert old.row is rows[0]


def test_a_write_that_no_call_of_this_attempt_means_is_a_rival() -> None:
    rows = [make_row("#1", b"a")]

    (found,) = match(rows, b"new")

    assert found == Match("#1/2", rival=rows[0])


def test_the_rival_in_the_same_place_comes_first() -> None:
    rows = [make_row("#1", b"a"), make_row("#2", b"b"), make_row("#3", b"c")]

    found = match(rows, b"a", b"new")

    assert found[1].rival is rows[1]


@pytest.mark.parametrize("state", ["begun", "failed", "aborted"])
def test_what_did_nothing_is_no_rival(state: str) -> None:
    (found,) = match([make_row("#1", b"a", state=state)], b"new")

    assert found == Match("#1/2")


def test_a_call_that_a_person_is_asked_about_keeps_its_rival() -> None:
    rows = [make_row("#1", b"a"), make_row("#1/2", b"new", state="in_doubt", has_attempts=False)]

    (found,) = match(rows, b"new")

    assert found == Match("#1/2", row=rows[1], rival=rows[0])


def test_a_call_that_was_settled_beside_its_rival_uses_up_both() -> None:
    rows = [make_row("#1", b"a"), make_row("#1/2", b"new")]

    found = match(rows, b"new", b"more")

    assert found == [Match("#1/2", row=rows[1]), Match("#2")]


def test_the_same_write_in_a_step_that_was_left_behind_is_found() -> None:
    row = make_row("#1", b"a", task_id="other")
    history = TaskHistory("task", [row])

    assert history.left_behind("desk.refund", b"a", {"": "c2"}) is row
    assert history.left_behind("desk.refund", b"a", {"": "c1"}) is None
    assert history.left_behind("desk.refund", b"b", {"": "c2"}) is None
    assert history.left_behind("desk.card", b"a", {"": "c2"}) is None


def test_tasks_of_one_step_share_their_checkpoints_also_in_different_subgraphs() -> None:
    assert not is_other_superstep({"": "c1", "sub:1": "s1"}, {"": "c1", "sub:2": "s9"})
    assert is_other_superstep({"": "c1", "sub:1": "s1"}, {"": "c1", "sub:1": "s2"})
    assert is_other_superstep({"": "c1"}, {"": "c2"})
    assert is_other_superstep(None, {"": "c2"})
