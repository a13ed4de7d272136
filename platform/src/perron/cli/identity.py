"""Ids as people write them."""

from __future__ import annotations

from uuid import UUID

from perron.errors import InvalidInputError


def as_uuid(text: str, kind: str) -> UUID:
    """Read an id.

    Raises:
        InvalidInputError: It is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInputError(
            f"{text!r} is no {kind} id: ids are UUIDs, as `perron {kind}s list` shows them."
        ) from None
