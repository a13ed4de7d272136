"""Redaction: what of arguments, bodies and results people may see in the journal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from perron.errors import DefinitionError

REDACTED = "[redacted]"
SHOWN_BYTES = 64_000
"""Bodies above this size are described and not shown."""

_SECRET_NAME = re.compile(
    r"^(.*[-_.])?(authorization|password|passwd|passphrase|secret|token|api[-_]?key|apikey|private[-_]?key|cookie|"
    r"set-cookie|credentials?|cvv|cvc|otp)$"
)
_STEP = re.compile(r"\.\.(?P<deep>[\w-]+)|\.(?P<name>[\w-]+)|\[(?P<each>\*)\]|\['(?P<quoted>[^']+)'\]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Steps = tuple[tuple[str, str], ...]


@lru_cache(maxsize=1024)
def parse_path(path: str) -> Steps:
    """Read `$.a.b`, `$.items[*].email`, `$['odd name']` or `$..email` (at any depth).

    Raises:
        DefinitionError: It is none of these.
    """
    steps: list[tuple[str, str]] = []
    position = 1
    while position < len(path) and path.startswith("$"):
        match = _STEP.match(path, position)
        if match is None:
            break
        kind = str(match.lastgroup)
        steps.append(("name" if kind == "quoted" else kind, match[kind]))
        position = match.end()
    if not steps or position < len(path):
        raise DefinitionError(
            f"{path!r} is no path that `redact` knows: write $.customer.email, $.items[*].email or $..email."
        )
    return tuple(steps)


def redact(value: Any, paths: Iterable[str] = ()) -> Any:
    """Return a copy of a JSON value in which what the paths name is replaced, and what is named like a secret."""
    shown = _without_secrets(value)
    for path in paths:
        shown = _apply(shown, parse_path(path))
    return shown


def redact_body(body: bytes, paths: Iterable[str] = ()) -> Any:
    """Return a body for people: redacted JSON, else the first 200 characters of text, else its size."""
    if not body:
        return None
    if len(body) > SHOWN_BYTES:
        return f"[{len(body)} bytes]"
    try:
        return redact(from_json(body), paths)
    except ValueError:
        pass
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"[{len(body)} bytes]"
    # Paths cannot reach into text: where an integration hides something, text is not shown at all.
    return f"[{len(body)} bytes]" if tuple(paths) else text[:200]


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers without the values of those that carry credentials."""
    return {name: REDACTED if is_secret(name) else value for name, value in headers.items()}


def is_secret(name: str) -> bool:
    """Say whether a field or header is named like a secret: `password`, `access_token`, `X-Api-Key`."""
    return _SECRET_NAME.match(_CAMEL.sub("_", name).lower()) is not None


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: REDACTED if isinstance(key, str) and item and is_secret(key) else _without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value


def _apply(value: Any, steps: Steps) -> Any:
    if not steps:
        return REDACTED if value is not None else None
    (kind, name), rest = steps[0], steps[1:]
    if kind == "each":
        return [_apply(item, rest) for item in value] if isinstance(value, list) else value
    if isinstance(value, dict):
        shown = {key: _apply(item, rest) if key == name else item for key, item in value.items()}
        return {key: _apply(item, steps) for key, item in shown.items()} if kind == "deep" else shown
    if isinstance(value, list) and kind == "deep":
        return [_apply(item, steps) for item in value]
    return value
