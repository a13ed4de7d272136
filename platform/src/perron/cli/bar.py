"""How far a long piece of work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from perron.cli.output import console, note

T = TypeVar("T")

_LINE_EVERY_S = 10.0


def batches(items: Sequence[T], size: int, *, doing: str) -> Iterator[Sequence[T]]:
    """Yield the items in batches, and show on stderr how many are done."""
    stderr = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    told_at = time.monotonic()
    with Progress(
        *columns, TimeRemainingColumn(compact=True), console=stderr, disable=not stderr.is_terminal, transient=True
    ) as progress:
        task = progress.add_task(doing, total=len(items))
        for first in range(0, len(items), size):
            yield items[first : first + size]
            done = min(first + size, len(items))
            progress.update(task, completed=done)
            if not stderr.is_terminal and time.monotonic() - told_at >= _LINE_EVERY_S:
                told_at = time.monotonic()
                note(f"{doing}: {done:,} of {len(items):,}")
