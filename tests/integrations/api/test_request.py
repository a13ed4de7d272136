"""Building requests: a value from a model stays a value."""

from __future__ import annotations

import math
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perron.errors import DefinitionError, Invalid
from perron.integrations.api.request import build, fill_path, outgoing

BASE = "https://desk.example/v1"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("../users", "/payments/..%2Fusers/refunds"),
        ("a/b?c#d", "/payments/a%2Fb%3Fc%23d/refunds"),
        ("%2e%2e", "/payments/%252e%252e/refunds"),
        ("ä b", "/payments/%C3%A4%20b/refunds"),
        ("\x00", "/payments/%00/refunds"),
        ("{payment}", "/payments/%7Bpayment%7D/refunds"),
        (7, "/payments/7/refunds"),
    ],
)
def test_a_value_is_one_segment_whatever_it_holds(value: object, path: str) -> None:
    assert fill_path("/payments/{payment}/refunds", {"payment": value}) == path


@given(st.text(min_size=1).filter(lambda text: text not in (".", "..")))
def test_no_text_leaves_its_segment(text: str) -> None:
    try:
        url = build("GET", BASE, "/payments/{payment}/refunds", values={"payment": text}).url
    except Invalid:
        text.encode("utf-8", "surrogatepass")
        return

    segments = urlsplit(url).path.split("/")
    assert [unquote(segment) for segment in segments] == ["", "v1", "payments", text, "refunds"]
    assert not urlsplit(url).query


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800"])
def test_a_value_that_no_segment_can_hold_is_refused(value: str) -> None:
    with pytest.raises(Invalid, match="payment"):
        fill_path("/payments/{payment}", {"payment": value})


@pytest.mark.parametrize("template", ["payments/{payment}", "/payments/{}", "/payments/{payment", "https://x/{p}"])
def test_a_template_that_is_no_path_is_a_fault_of_the_definition(template: str) -> None:
    with pytest.raises(DefinitionError):
        fill_path(template, {"payment": "p", "p": "p"})


def test_a_name_without_a_value_is_a_fault_of_the_definition() -> None:
    with pytest.raises(DefinitionError, match="needs a value for 'payment'"):
        fill_path("/payments/{payment}", {})


def test_values_that_the_path_does_not_name_go_into_the_query() -> None:
    values = {"customer": "c-1", "state": "open", "since": None, "tag": ["a", "b&c"], "all": True}

    request = build("GET", BASE, "/customers/{customer}/tickets", values=values, params={"into": "x"})

    assert request.url == f"{BASE}/customers/c-1/tickets?state=open&tag=a&tag=b%26c&all=true&into=x"


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {"a": [math.nan]}])
def test_a_body_that_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(Invalid, match="JSON"):
        build("POST", BASE, "/x", values={}, body={"value": value})


def test_a_header_with_a_line_break_is_refused() -> None:
    with pytest.raises(Invalid, match="X-Note"):
        build("POST", BASE, "/x", values={}, headers={"X-Note": "a\r\nHost: evil"})


def test_what_people_see_hides_redacted_values_in_path_and_body_and_has_no_query() -> None:
    values = {"email": "ann@mail.example", "page": 2}
    body = {"to": {"email": "ann@mail.example"}, "password": "canary", "text": "hi"}
    request = build("POST", BASE, "/people/{email}", values=values, body=body)

    shown = outgoing(request, BASE, "/people/{email}", values=values, body=body, timeout_s=5, paths=["$..email"])

    assert (shown.method, shown.host, shown.path) == ("POST", "desk.example", "/people/%5Bredacted%5D")
    assert shown.body == {"to": {"email": "[redacted]"}, "password": "[redacted]", "text": "hi"}
    assert "ann%40mail.example" in request.url
    assert "canary" not in repr(request)
