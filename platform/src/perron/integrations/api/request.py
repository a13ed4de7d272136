"""Building requests: path templates whose values are quoted, queries, JSON bodies."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any
from urllib.parse import quote, urlencode

from pydantic_core import PydanticSerializationError, to_jsonable_python

from perron.errors import DefinitionError, Invalid
from perron.integrations.api.transport import Request
from perron.integrations.exchange import Outgoing
from perron.integrations.redact import redact

Params = Mapping[str, object]


def path_fields(template: str) -> list[str]:
    """Return the names in a template's braces.

    Raises:
        DefinitionError: The template does not begin with a slash, or its braces are wrong.
    """
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError:
        fields = [""]
    if not template.startswith("/") or not all(name.isidentifier() for name in fields):
        raise DefinitionError(f"{template!r} is no path: write it like /payments/{{payment}}/refunds.")
    return fields


def fill_path(template: str, values: Mapping[str, object]) -> str:
    """Put values into a template, each as one segment: `../users` becomes `..%2Fusers`.

    Raises:
        Invalid: A value that no segment can hold: empty, a dot or two, no valid Unicode.
        DefinitionError: A name of the template has no value.
    """
    quoted = {}
    for name in path_fields(template):
        if name not in values:
            raise DefinitionError(f"The path {template!r} needs a value for {name!r}.")
        text = _text(values[name])
        # Servers and proxies resolve dots also when they come quoted, and some ignore an empty segment.
        if text in ("", ".", ".."):
            raise Invalid(f"The value {text!r} of {name!r} cannot stand in a path.")
        quoted[name] = _quote(text, name=name)
    return template.format(**quoted)


def build(
    method: str,
    base_url: str,
    template: str,
    *,
    values: Params,
    params: Params | None = None,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Request:
    """Make a request without credentials. Values that the template does not name go into the query.

    Raises:
        Invalid: Something in the arguments cannot be sent.
    """
    path = fill_path(template, values)
    in_path = set(path_fields(template))
    query = _query({**{k: v for k, v in values.items() if k not in in_path}, **(params or {})})
    url = base_url.rstrip("/") + path + (f"?{query}" if query else "")
    content = None if body is None else encode_json(body)
    sent = {"Accept": "application/json", **(headers or {})}
    if content is not None:
        sent["Content-Type"] = "application/json"
    for name, value in sent.items():
        if not value.isprintable() or not value.isascii():
            raise Invalid(f"The header {name} cannot hold this value.")
    return Request(method, url, sent, content)


def outgoing(
    request: Request,
    base_url: str,
    template: str,
    *,
    values: Params,
    body: Any,
    timeout_s: float,
    paths: Iterable[str],
) -> Outgoing:
    """Describe a request for its row: host, path without query, redacted body."""
    paths = tuple(paths)
    host = base_url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    shown = redact({name: _text(value) for name, value in values.items()}, paths)
    path = fill_path(template, {name: shown[name] for name in path_fields(template)})
    shown_body = None if body is None else redact(to_jsonable_python(body), paths)
    return Outgoing(request.method, host, path, shown_body, timeout_s)


def encode_json(value: Any) -> bytes:
    """Encode models, dataclasses and plain values.

    Raises:
        Invalid: NaN, infinity, a lone surrogate, or a type that JSON does not have.
    """
    try:
        return json.dumps(
            to_jsonable_python(value, inf_nan_mode="constants"), allow_nan=False, ensure_ascii=False
        ).encode()
    except (ValueError, PydanticSerializationError, UnicodeEncodeError):
        raise Invalid(
            "The arguments hold something that JSON cannot: NaN, infinity, or text that is no Unicode."
        ) from None


def _query(params: Params) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        if value is None:
            continue
        each = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
        pairs += [(name, _text(item)) for item in each]
    try:
        return urlencode(pairs)
    except UnicodeEncodeError:
        raise Invalid("A value for the query is no valid Unicode.") from None


def _text(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _quote(text: str, *, name: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise Invalid(f"The value of {name!r} is no valid Unicode.") from None
