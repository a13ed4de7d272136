"""Spans of time as people write them."""

from __future__ import annotations

import re
from datetime import timedelta

from perron.errors import InvalidInputError

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST_DAYS = 36_500


def as_age(text: str, *, option: str) -> timedelta:
    """Read a span such as `30d`, `12h`, `90m` or `2w`.

    Raises:
        InvalidInputError: It is none.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([mhdw])", text.strip())
    age = timedelta(**{_UNITS[match[2]]: float(match[1])}) if match and float(match[1]) < 1e8 else None
    if age is None or age > timedelta(days=_MOST_DAYS):
        raise InvalidInputError(f"--{option} takes a span such as 30d, 12h, 90m or 2w, not {text!r}.")
    return age
