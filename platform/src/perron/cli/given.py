"""JSON that people give on the command line: as text, as a file, or on stdin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from perron.errors import InvalidInputError

_QUOTING = """quote it for the shell, as in --{option} '{{"text": "…"}}'"""


def read_json(text: str | None, *, option: str) -> Any:
    """Read what an option was given: JSON, `@file` that holds JSON, or `-` for stdin.

    Raises:
        InvalidInputError: It is no JSON; the message says where and how to write it.
    """
    if text is None:
        return None
    if text == "-":
        content, where = sys.stdin.buffer.read(), "stdin"
    elif text.startswith("@"):
        content, where = _content(Path(text[1:]), option), text[1:]
    else:
        return _parse(text, where=f"--{option}", hint=f": {_QUOTING.format(option=option)}")
    try:
        return _parse(content.decode("utf-8-sig"), where=where, hint="")
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"{where} is not UTF-8 (byte {exc.start:,}): save it as UTF-8.") from None


def read_object(text: str | None, *, option: str) -> dict[str, Any]:
    """Read an option that takes a JSON object; nothing is an empty one.

    Raises:
        InvalidInputError: It is no JSON, or none of that kind.
    """
    value = read_json(text, option=option)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInputError(f"--{option} takes a JSON object, as in --{option} '{{\"key\": 1}}'.")
    return value


def _content(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise InvalidInputError(f"--{option} names the file {path}, which cannot be read: {reason}.") from None


def _parse(text: str, *, where: str, hint: str) -> Any:
    if not text.strip():
        raise InvalidInputError(f"{where} is empty, not JSON{hint}.")
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        raise InvalidInputError(f"{where} is no JSON ({exc.msg} at {place}){hint}.") from None
    except (RecursionError, ValueError) as exc:  # nested too deeply; an integer of thousands of digits
        reason = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise InvalidInputError(f"{where} cannot be read as JSON: {reason}.") from None
