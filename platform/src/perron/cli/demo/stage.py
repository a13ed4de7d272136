"""What people see of the demo: its acts, and how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from perron.cli.output import Row, console, note, plain, print_rows, say

_TICK_S = 0.1


class Stage:
    """Tells the story on stdout and the progress on stderr. A silent one, for programs, tells no story."""

    def __init__(self, *, acts: int, is_silent: bool) -> None:
        self.started_at = time.monotonic()
        self._acts = acts
        self._act = 0
        self._is_silent = is_silent

    @property
    def elapsed_s(self) -> float:
        """Since the curtain rose."""
        return time.monotonic() - self.started_at

    def begin(self, title: str) -> None:
        """Begin the next act."""
        self._act += 1
        if not self._is_silent:
            say("")
            console().print(Text(f"{self._act}/{self._acts}  {plain(title)}", style="bold"), soft_wrap=True)

    def tell(self, text: str) -> None:
        """Tell a line."""
        if not self._is_silent:
            say(f"     {text}")

    def show(self, rows: Sequence[Row], columns: Mapping[str, str]) -> None:
        """Show a table: title → key of the row."""
        if not self._is_silent:
            print_rows(rows, columns, as_json=False, empty="")

    @contextmanager
    def working(self, text: str, *, total_s: float | None = None) -> Iterator[None]:
        """Show that something goes on, with a bar where it is known how long it takes."""
        stderr = console(stderr=True)
        if not stderr.is_terminal:
            note(f"[{self.elapsed_s:.0f} s] {text}")
            yield
            return
        moving = [SpinnerColumn()] if total_s is None else [BarColumn(bar_width=30)]
        label = f"{self._act}/{self._acts} {text}"
        columns = (*moving, TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=stderr, transient=True) as progress:
            task = progress.add_task(label, total=total_s)
            ticking = asyncio.get_running_loop().create_task(_tick(progress, task)) if total_s else None
            try:
                yield
            finally:
                if ticking is not None:
                    ticking.cancel()


async def _tick(progress: Progress, task: object) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        progress.advance(task, _TICK_S)  # type: ignore[arg-type]
