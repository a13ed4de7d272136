"""A row of a batch's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """What one run is given."""

    number: int
    """From 1; headings and blank lines do not count."""
    input: Any
    thread: str | None = None
    """Rows with the same value here share a thread; None has one of its own."""
