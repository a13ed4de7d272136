"""Filters of lists whose values are a closed set."""

from __future__ import annotations

from collections.abc import Sequence

from perron.errors import InvalidInputError, nearest


def check_filter(what: str, of: str, value: str | None, known: Sequence[str]) -> None:
    """Refuse a value that no row can have: the list would be empty, and look like an answer.

    Raises:
        InvalidInputError: The message has the nearest one and all that there are.
    """
    if value is not None and value not in known:
        there_are = ", ".join(known)
        raise InvalidInputError(
            f"There is no {what} {value!r} of {of}.{nearest(value, known)} There are: {there_are}."
        )
