"""The one JSON encoder for every JSONB column: it takes any value, and PostgreSQL takes what it gives."""

from __future__ import annotations

import base64
import dataclasses
import math
import re
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

import orjson

MAX_DEPTH = 100
"""Nesting that is kept; below it stands a note. orjson stops at 254."""
MAX_JSONB_BYTES = 250_000_000
"""A little less than PostgreSQL's limit of 268,435,455 bytes for one value."""

_NOTE_CHARS = 1_000
_INT64 = range(-(2**63), 2**64)
# Only what both paths write in the same way may take the fast one.
_FAST = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def dumps(value: object) -> str:
    """Return `value` as JSON that a JSONB column accepts. Never raises on data."""
    try:
        encoded = orjson.dumps(value, option=_FAST)
        if b"\\u0000" in encoded:
            encoded = orjson.dumps(clean(value)[0])
    except (TypeError, RecursionError):  # orjson's JSONEncodeError is a TypeError
        encoded = orjson.dumps(clean(value)[0])
    return (_too_large(encoded) or encoded).decode()


def loads(text: str | bytes) -> Any:
    """Read what a JSONB column gives back."""
    return orjson.loads(text)


def clean(value: object) -> tuple[Any, bool]:
    """Return `value` as plain JSON data, and whether something of it was replaced.

    Replaced are NUL and lone surrogates (by U+FFFD), NaN and infinities (by null), integers beyond 64 bits (by
    their digits), cycles and what is nested deeper than `MAX_DEPTH` or larger than PostgreSQL stores (by a
    note), objects of unknown types (by their repr). Dates, ids, sets, models and the like have a JSON form and
    count as unchanged. The result shares nothing with `value`.
    """
    cleaner = _Cleaner()
    result = cleaner.clean(value, 0)
    note = _too_large(orjson.dumps(result))
    return (orjson.loads(note), True) if note else (result, cleaner.changed)


class _Cleaner:
    """One walk over a value. Knows which containers it is inside of, and whether it replaced anything."""

    def __init__(self) -> None:
        self.changed = False
        self._inside: set[int] = set()

    def clean(self, value: object, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(cast("str", value))  # `kind is str` narrows nothing for mypy
        if value is None or kind is bool:
            return value
        if kind is int:
            return self._integer(cast("int", value))
        if kind is float:
            return self._float(cast("float", value))
        if id(value) in self._inside:
            return self._note(f"<{kind.__name__}: contains itself>")
        if depth >= MAX_DEPTH:
            return self._note(f"<{kind.__name__}: nested deeper than {MAX_DEPTH}>")
        self._inside.add(id(value))
        try:
            if kind is dict or kind is list:  # nearly all: past a dozen questions what else it may be
                return self._container(value, depth + 1)
            return self._other(value, depth + 1)
        except Exception:  # noqa: BLE001  # a foreign __iter__, model_dump or __class__ may raise anything
            return self._note(_repr(value))
        finally:
            self._inside.discard(id(value))

    def _other(self, value: object, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.clean(value.value, depth)
        scalar = _scalar(value)
        return self._container(value, depth) if scalar is None else self.clean(scalar, depth)

    def _container(self, value: object, depth: int) -> Any:
        if isinstance(value, (dict, Mapping)):  # a dict first: to ask an abstract class takes longer
            result = {self._key(key): self.clean(item, depth) for key, item in value.items()}
            self.changed |= len(result) < len(value)  # {1: …, "1": …}
            return result
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return self._container(value._asdict(), depth)
        if isinstance(value, (list, tuple, deque)):
            return [self.clean(item, depth) for item in value]
        if isinstance(value, (set, frozenset)):
            return [self.clean(item, depth) for item in _ordered(value)]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return {f.name: self.clean(getattr(value, f.name, None), depth) for f in fields}
        if not isinstance(value, type):
            if callable(dump := getattr(value, "model_dump", None)):
                # Without serialize_as_any a list[BaseMessage] field would lose what the subclasses add.
                return self.clean(dump(serialize_as_any=True, warnings=False), depth)
            if callable(to_list := getattr(value, "tolist", None)):  # numpy's arrays and scalars
                return self.clean(to_list(), depth)
            slots = [name for name in getattr(type(value), "__slots__", ()) if not name.startswith("_")]
            if slots:  # langgraph's Send
                return {name: self.clean(getattr(value, name, None), depth) for name in slots}
        return self._note(_repr(value))

    def _key(self, key: object) -> str:
        if type(key) is str:
            return self._text(key)
        if isinstance(key, Enum):
            return self._key(key.value)
        if key is None or isinstance(key, bool):
            return {None: "null", True: "true", False: "false"}[key]
        plain = _scalar(key)
        return self._text(plain if isinstance(plain, str) else _repr(key if plain is None else plain))

    def _text(self, value: str) -> str:
        if value.isascii():
            if "\x00" not in value:
                return value
        else:
            try:
                value.encode()
            except UnicodeEncodeError:
                value = re.sub(r"[\ud800-\udfff]", "\ufffd", value)
                self.changed = True
        if "\x00" in value:
            value = value.replace("\x00", "\ufffd")
            self.changed = True
        return value

    def _integer(self, value: int) -> int | str:
        if value in _INT64:
            return value
        self.changed = True  # as text: a JSON number of that size comes back as a float, digits lost
        return str(value) if value.bit_length() < 4_096 else f"{value:#x}"  # Python refuses str() of huge ones

    def _float(self, value: float) -> float | None:
        if math.isfinite(value):
            return value
        self.changed = True
        return None

    def _note(self, text: str) -> str:
        self.changed = True
        return self._text(text)


def _scalar(value: object) -> Any:
    """Return the plain form of a value that is no container; None when there is none."""
    match value:
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case UUID() | Decimal() | PurePath():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case re.Pattern():
            return str(value.pattern)
    return None


def _ordered(items: Iterable[Any]) -> list[Any]:
    """Sort a set where it can be: equal sets give equal JSON in every process."""
    values = list(items)
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def _repr(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # a foreign __repr__ may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _NOTE_CHARS else text[:_NOTE_CHARS] + "…"


def _too_large(encoded: bytes) -> bytes | None:
    """Return a note in JSON when PostgreSQL would refuse `encoded` for its size, else None."""
    if len(encoded) * 6 <= MAX_JSONB_BYTES:  # `[0,0,…]` is the worst case: 2 bytes of text, 12 of JSONB
        return None
    nodes = encoded.count(b",") + encoded.count(b"[") + encoded.count(b"{")
    if len(encoded) + 12 * nodes <= MAX_JSONB_BYTES:
        return None
    return orjson.dumps(f"<left out: {len(encoded)} bytes of JSON are more than PostgreSQL stores>")
