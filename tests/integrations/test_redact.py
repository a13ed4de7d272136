"""Redaction of what the journal shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perron.errors import DefinitionError
from perron.integrations.redact import REDACTED, is_secret, parse_path, redact, redact_body, redact_headers


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("$.email", {"email": REDACTED, "to": [{"email": "b"}], "deep": {"email": "c"}, "n": 1}),
        ("$.to[*].email", {"email": "a", "to": [{"email": REDACTED}], "deep": {"email": "c"}, "n": 1}),
        ("$..email", {"email": REDACTED, "to": [{"email": REDACTED}], "deep": {"email": REDACTED}, "n": 1}),
        ("$['deep']", {"email": "a", "to": [{"email": "b"}], "deep": REDACTED, "n": 1}),
        ("$.absent.email", {"email": "a", "to": [{"email": "b"}], "deep": {"email": "c"}, "n": 1}),
    ],
)
def test_a_path_hides_what_it_names_and_nothing_else(path: str, shown: Any) -> None:
    value = {"email": "a", "to": [{"email": "b"}], "deep": {"email": "c"}, "n": 1}

    assert redact(value, [path]) == shown


def test_the_value_itself_is_left_as_it_was() -> None:
    value = {"email": "a", "token": "t"}

    redact(value, ["$.email"])

    assert value == {"email": "a", "token": "t"}


@pytest.mark.parametrize(
    "name", ["password", "access_token", "clientSecret", "X-Api-Key", "Authorization", "apiKey"]
)
def test_a_field_named_like_a_secret_is_hidden_without_being_asked(name: str) -> None:
    assert redact({"deep": [{name: "canary"}]}) == {"deep": [{name: REDACTED}]}


@pytest.mark.parametrize("name", ["tokens_used", "secretary", "payment", "keyboard", "monkey"])
def test_a_field_that_only_resembles_a_secret_is_shown(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize("path", ["email", "$", "$.", "$[0]x", "$.a..", "$.a[*", ""])
def test_a_path_that_is_none_is_refused_at_definition(path: str) -> None:
    with pytest.raises(DefinitionError, match="is no path"):
        parse_path(path)


def test_a_body_that_is_no_json_is_not_shown_where_something_is_hidden() -> None:
    assert redact_body(b"<p>a@b.example</p>", ["$.email"]) == "[18 bytes]"
    assert redact_body(b"<p>hello</p>") == "<p>hello</p>"
    assert redact_body(b"\xff\xfe") == "[2 bytes]"
    assert redact_body(b"") is None


def test_a_large_body_is_only_measured() -> None:
    assert redact_body(b'"' + b"x" * 100_000 + b'"') == "[100002 bytes]"


def test_headers_with_credentials_are_hidden() -> None:
    assert redact_headers({"Authorization": "Bearer x", "Accept": "a"}) == {
        "Authorization": REDACTED,
        "Accept": "a",
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_a_canary_under_a_hidden_name_never_shows_at_any_depth(value: Any) -> None:
    planted = {"around": [value, {"email": ["canary"]}], "password": {"value": "canary"}}

    assert "canary" not in str(redact(planted, ["$..email"]))
