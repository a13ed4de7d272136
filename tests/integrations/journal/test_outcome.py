"""The table of answers × classes of repeat."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integrations.conftest import make_spec

from perron.integrations.exchange import Exchange
from perron.integrations.journal.outcome import Kind, Step, classify, next_step
from perron.integrations.repeat import AskPerson, Harmless, LookUp, Repeat, SameKey


async def never(marker: str) -> None:
    """A finder."""


READ: dict[str, Any] = {"effect": "read", "repeat": None}
LOOK_UP = LookUp(never)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Kind.DONE),
        (201, Kind.DONE),
        (302, Kind.DONE),
        (400, Kind.FAILED),
        (401, Kind.REFUSED),
        (403, Kind.REFUSED),
        (404, Kind.FAILED),
        (408, Kind.NO_ANSWER),
        (409, Kind.FAILED),
        (410, Kind.FAILED),
        (413, Kind.REFUSED),
        (422, Kind.FAILED),
        (425, Kind.BUSY),
        (429, Kind.BUSY),
        (500, Kind.FAULT),
        (503, Kind.FAULT),
    ],
)
def test_a_first_answer(status: int, kind: Kind) -> None:
    assert classify(make_spec(repeat=SameKey()), Exchange(status, {}, b""), is_doubtful=False).kind is kind


@pytest.mark.parametrize(
    ("status", "kind"), [(409, Kind.IN_PROGRESS), (422, Kind.OTHER_REQUEST), (404, Kind.FAILED)]
)
def test_an_answer_to_a_repeat_under_the_same_key(status: int, kind: Kind) -> None:
    assert classify(make_spec(repeat=SameKey()), Exchange(status, {}, b""), is_doubtful=True).kind is kind


def test_503_with_retry_after_is_busy() -> None:
    found = classify(make_spec(), Exchange(503, {"retry-after": "7"}, b""), is_doubtful=False)

    assert (found.kind, found.wait_s) == (Kind.BUSY, 7.0)


def test_an_operation_says_which_statuses_are_definite() -> None:
    spec = make_spec(definite=frozenset({402}))

    assert classify(spec, Exchange(402, {}, b""), is_doubtful=False).kind is Kind.FAILED
    assert classify(spec, Exchange(404, {}, b""), is_doubtful=False).kind is Kind.REFUSED


@pytest.mark.parametrize("kind", [Kind.NO_ANSWER, Kind.FAULT])
@pytest.mark.parametrize(
    ("repeat", "step"),
    [
        (Harmless(), Step.AGAIN),
        (SameKey(), Step.AGAIN),
        (LOOK_UP, Step.LOOK_UP),
        (AskPerson(), Step.ASK),
    ],
)
def test_a_doubt_with_tries_left(kind: Kind, repeat: Repeat, step: Step) -> None:
    assert next_step(make_spec(repeat=repeat), kind, may_repeat=True, is_doubtful=False) is step


@pytest.mark.parametrize("kind", [Kind.NO_ANSWER, Kind.FAULT])
@pytest.mark.parametrize("repeat", [Harmless(), SameKey(), LOOK_UP, AskPerson()])
def test_a_doubt_without_tries_left_is_a_question(kind: Kind, repeat: Repeat) -> None:
    assert next_step(make_spec(repeat=repeat), kind, may_repeat=False, is_doubtful=False) is Step.ASK


def test_a_doubt_under_a_key_that_the_api_has_forgotten_is_a_question() -> None:
    spec = make_spec(repeat=SameKey())

    assert next_step(spec, Kind.NO_ANSWER, may_repeat=True, is_doubtful=True, within_ttl=False) is Step.ASK


@pytest.mark.parametrize(
    ("kind", "may_repeat", "is_doubtful", "step"),
    [
        (Kind.DONE, True, False, Step.RETURN),
        (Kind.FAILED, True, True, Step.RETURN),
        (Kind.OTHER_REQUEST, True, True, Step.RETURN),
        (Kind.REFUSED, True, False, Step.RETURN),
        (Kind.REFUSED, True, True, Step.ASK),
        (Kind.BUSY, True, False, Step.AGAIN),
        (Kind.BUSY, False, False, Step.RETURN),
        (Kind.BUSY, False, True, Step.ASK),
        (Kind.NOT_SENT, True, False, Step.AGAIN),
        (Kind.NOT_SENT, False, False, Step.GIVE_UP),
        (Kind.NOT_SENT, False, True, Step.ASK),
        (Kind.IN_PROGRESS, True, True, Step.AGAIN),
        (Kind.IN_PROGRESS, False, True, Step.ASK),
    ],
)
def test_what_follows_from_a_write(kind: Kind, step: Step, *, may_repeat: bool, is_doubtful: bool) -> None:
    spec = make_spec(repeat=SameKey())

    assert next_step(spec, kind, may_repeat=may_repeat, is_doubtful=is_doubtful) is step


@pytest.mark.parametrize(
    ("kind", "may_repeat", "step"),
    [
        (Kind.DONE, True, Step.RETURN),
        (Kind.FAILED, True, Step.RETURN),
        (Kind.REFUSED, True, Step.RETURN),
        (Kind.FAULT, True, Step.AGAIN),
        (Kind.FAULT, False, Step.RETURN),
        (Kind.BUSY, False, Step.RETURN),
        (Kind.NO_ANSWER, True, Step.AGAIN),
        (Kind.NO_ANSWER, False, Step.GIVE_UP),
        (Kind.NOT_SENT, False, Step.GIVE_UP),
    ],
)
def test_what_follows_from_a_read(kind: Kind, step: Step, *, may_repeat: bool) -> None:
    assert next_step(make_spec(**READ), kind, may_repeat=may_repeat, is_doubtful=False) is step
