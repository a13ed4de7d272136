"""Work that does not get on: runs, workers, asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perron.cli.checks.finding import Finding
from perron.cli.output import ago
from perron.cli.pauses import unpause_command
from perron.services.health import OVERDUE_S, Health
from perron.services.pause import PauseView

_OPEN = "Open a platform: `perron runs retry RUN` does, and so does `Platform.open()`."


def check_work(health: Health, pauses: Sequence[PauseView]) -> Iterator[Finding]:
    """Yield what is stuck and what waits."""
    if health.orphans:
        text = f"{_runs(health.orphans)} left behind by a dead worker."
        yield Finding("runs", "warning", text, f"Any open platform takes them over within the lease. {_OPEN}")
    if health.overdue:
        text = f"{_runs(health.overdue)} due for more than {OVERDUE_S:.0f} s and not begun."
        yield Finding("runs", "warning", text, _OPEN)
    if not health.orphans and not health.overdue:
        yield Finding("runs", "ok", "No run is stuck.")
    for view in pauses:
        pause, waiting = view.pause, "1 run waits" if view.runs == 1 else f"{view.runs} runs wait"
        text = f"{pause.subject} was paused {ago(pause.created_at)} ({pause.reason}); {waiting} for it."
        yield Finding("paused", "warning", text, f"`{unpause_command(pause)}` lets it go on.")
    yield Finding("workers", "ok", f"{health.live_workers} alive.")
    if health.dead_workers:
        text = f"{health.dead_workers} dead; their rows go with the first takeover of a run of theirs."
        yield Finding("workers", "note", text)
    if health.open_asks:
        text = f"{health.open_asks} waiting for a person."
        yield Finding("asks", "note", text, "See `perron asks list`.")


def _runs(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"
