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
    for graph_id, runs, workers in health.overdue:
        text = f"{_runs(runs)} due for more than {OVERDUE_S:.0f} s and not begun: "
        if workers:
            text += (
                f"the agent {graph_id} is on {workers} live worker{'s' * (workers > 1)}, with no room for more."
            )
            advice = "Start more workers, or raise their --concurrency."
        else:
            text += f"no live worker has the agent {graph_id}."
            advice = (
                "Install it where a worker runs, or cancel what "
                f"`perron runs list --agent {graph_id} --status pending` shows."
            )
        yield Finding("runs", "warning", text, advice)
    if not health.orphans and not health.overdue:
        yield Finding("runs", "ok", "No run is stuck.")
    for view in pauses:
        pause, waiting = view.pause, "1 run waits" if view.runs == 1 else f"{view.runs} runs wait"
        text = f"{pause.subject} was paused {ago(pause.created_at)} ({pause.reason}); {waiting} for it."
        yield Finding("paused", "warning", text, f"`{unpause_command(pause)}` lets it go on.")
    yield Finding("workers", "ok", f"{health.live_workers} alive.")
    if len(health.versions) > 1:
        text = f"They run different releases of Perron: {', '.join(health.versions)}."
        yield Finding("workers", "note", text, "Fine while they are replaced; bring all to the newest one.")
    if health.dead_workers:
        gone = "when a run of theirs is taken over, or by age (keep_workers_days)"
        text = f"{health.dead_workers} dead; their rows go {gone}."
        yield Finding("workers", "note", text)
    if health.open_asks:
        text = f"{health.open_asks} waiting for a person."
        yield Finding("asks", "note", text, "See `perron asks list`.")
    yield from _check_crons(health)
    yield from _check_webhooks(health)


def _check_crons(health: Health) -> Iterator[Finding]:
    if health.failed_crons:
        text = f"{health.failed_crons} disabled, since nothing could come of them."
        advice = "`perron crons list` says why; mend that, and `perron crons update CRON --enable`."
        yield Finding("crons", "warning", text, advice)
    if health.overdue_crons:
        text = f"{health.overdue_crons} due for more than {OVERDUE_S:.0f} s and not fired."
        yield Finding("crons", "warning", text, "Keep a platform open that has their agents.")


def _check_webhooks(health: Health) -> Iterator[Finding]:
    if health.failed_webhooks:
        text = f"{health.failed_webhooks} given up."
        advice = "`perron webhooks list --state failed` says why; mend that, and `perron webhooks retry DELIVERY`."
        yield Finding("webhooks", "warning", text, advice)
    if health.overdue_webhooks:
        text = f"{health.overdue_webhooks} due for more than {OVERDUE_S:.0f} s and not sent."
        yield Finding("webhooks", "warning", text, "Keep a platform open that executes runs: it sends them too.")


def _runs(count: int) -> str:
    return "1 run is" if count == 1 else f"{count} runs are"
