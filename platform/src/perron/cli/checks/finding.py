"""`Finding`: what a check found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `perron doctor`."""

    area: str
    state: State
    text: str
    advice: str = ""
    """What to do; empty where there is nothing to do."""
