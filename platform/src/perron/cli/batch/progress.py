"""How far a batch is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from perron.cli.batch.results import Counts
from perron.cli.output import console, duration, note

_LINE_EVERY_S = 10.0


class BatchProgress:
    """Shows counts, rate and the time that is left, on stderr."""

    def __init__(self, counts: Counts, *, total: int) -> None:
        self._counts = counts
        self._total = total
        self._before = counts.total
        self._started_at = self._told_at = time.monotonic()
        stderr = console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[counts]}"),
            console=stderr,
            disable=not stderr.is_terminal,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("Running", total=total, completed=self._before, rate="", counts="")

    @property
    def elapsed_s(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started_at

    @property
    def per_s(self) -> float:
        """Rows that have come to an end here, a second."""
        return (self._counts.total - self._before) / max(self.elapsed_s, 0.001)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self) -> None:
        """Show the counts as they are now."""
        counts = self._counts
        if not self._bar.disable:
            told = f"{counts.done:,} done · {counts.waiting:,} waiting · {counts.failed:,} failed"
            self._bar.update(self._task, completed=counts.total, rate=f"{self.per_s:.0f}/s", counts=told)
        elif time.monotonic() - self._told_at >= _LINE_EVERY_S:
            self._told_at = time.monotonic()
            left = duration((self._total - counts.total) / max(self.per_s, 0.001))
            note(
                f"{counts.total:,} of {self._total:,} rows, {self.per_s:.0f}/s, {left} left: "
                f"{counts.done:,} done, {counts.waiting:,} waiting, {counts.failed:,} failed"
            )
