"""Reading answers."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pydantic import BaseModel

from perron import clock
from perron.errors import AuthFailed, IntegrationError, Invalid, NotFound, RateLimited, Upstream
from perron.integrations.api.answer import read_answer, retry_after_s
from perron.integrations.exchange import UNREADABLE, Exchange


class Refund(BaseModel):
    id: str
    cents: int


def read(status: int, body: bytes = b"", into: Any = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_answer(Exchange(status, named, body), operation="desk.refund", into=into)


def test_a_body_becomes_the_declared_type() -> None:
    assert read(201, b'{"id": "r-1", "cents": 5}', Refund) == Refund(id="r-1", cents=5)
    assert read(200, b'[{"id": "r-1", "cents": 5}]', list[Refund]) == [Refund(id="r-1", cents=5)]
    assert read(200, b'{"a": 1}') == {"a": 1}
    assert read(204) is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthFailed),
        (403, AuthFailed),
        (404, NotFound),
        (410, NotFound),
        (400, Invalid),
        (409, Invalid),
        (422, Invalid),
        (429, RateLimited),
        (408, Upstream),
        (302, Upstream),
        (500, Upstream),
        (503, Upstream),
    ],
)
def test_a_status_becomes_its_error(status: int, error: type[IntegrationError]) -> None:
    with pytest.raises(error) as raised:
        read(status, b'{"error": {"message": "Because."}}')

    assert raised.value.status == status
    assert raised.value.operation == "desk.refund"
    assert "Because." in raised.value.detail


def test_503_with_retry_after_is_a_limit() -> None:
    with pytest.raises(RateLimited) as raised:
        read(503, retry_after="7")

    assert raised.value.retry_after_s == 7.0


def test_retry_after_may_be_a_date() -> None:
    at = format_datetime(clock.now() + timedelta(seconds=60))

    assert retry_after_s({"retry-after": at}) == pytest.approx(60, abs=2)
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({}) is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html>oops</html>",
        b"",
        b'{"id": 1}',
        b'{"id": "r", "cents": "many"}',
        b"[]",
        b'{"id": "r", "cents": NaN}',
    ],
)
def test_garbage_after_a_2xx_is_upstream(body: bytes) -> None:
    with pytest.raises(Upstream, match="cannot be read") as raised:
        read(201, body, Refund)

    assert "many" not in raised.value.detail


def test_an_answer_that_was_too_large_says_so() -> None:
    with pytest.raises(Upstream) as raised:
        read_answer(Exchange(200, {UNREADABLE: "the answer is larger than 20 MB"}, b""), operation="desk.x")

    assert "larger than 20 MB" in raised.value.detail


def test_what_an_api_says_reaches_a_model_short_and_on_one_line() -> None:
    said = "no\r\n\x1b[31m" + "x" * 1000

    with pytest.raises(Invalid) as raised:
        read(400, ('{"message": "' + said.replace("\r\n", "\\r\\n").replace("\x1b", "\\u001b") + '"}').encode())

    assert len(raised.value.message) < 300
    assert raised.value.message.isprintable()
