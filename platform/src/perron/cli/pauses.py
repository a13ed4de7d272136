"""Pauses as lists and views show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from perron.models.pause import Pause, PauseKind
from perron.models.run import Run
from perron.services.pause import holding


def pause_row(pause: Pause) -> dict[str, Any]:
    """Return what programs get of a pause."""
    return {
        "kind": pause.kind,
        "name": pause.name or None,
        "reason": pause.reason,
        "paused_by": pause.paused_by,
        "since": pause.created_at,
    }


def paused(kind: PauseKind, name: str, pauses: Iterable[Pause]) -> dict[str, Any] | None:
    """Return the pause of a thing for programs; None when it goes on. An agent is paused with everything."""
    for pause in pauses:
        if (pause.kind, pause.name) == (kind, name) or (kind == "agent" and pause.kind == "all"):
            return pause_row(pause)
    return None


def parked(run: Run, pauses: Iterable[Pause]) -> dict[str, Any] | None:
    """Return the pause that keeps a run in line, for programs; None when none does."""
    pause = holding(run, pauses)
    return None if pause is None else {"by": pause.subject, **pause_row(pause)}


def unpause_command(pause: Pause) -> str:
    """Return the command that ends a pause."""
    return f"perron unpause {' '.join(part for part in (pause.kind, pause.name) if part)}"
