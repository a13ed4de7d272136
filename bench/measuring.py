"""What both benchmarks share: clients that work side by side, and the table of what they measured."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping

from rich.console import Console
from rich.table import Table

Work = Callable[[int], Awaitable[object]]


async def spread(work: Work, *, times: int, at_once: int) -> tuple[float, list[float]]:
    """Do something `times` times with `at_once` under way; return the wall time and each one's, in seconds."""
    left = iter(range(times))
    took_s: list[float] = []

    async def client() -> None:
        for i in left:
            started = time.perf_counter()
            await work(i)
            took_s.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return time.perf_counter() - started, took_s


class Measured:
    """What was measured of each kind of work, by how many were at once and by variant."""

    def __init__(self) -> None:
        self._walls_s: dict[tuple[str, int, str], float] = {}
        self._took_s: dict[tuple[str, int, str], list[float]] = {}

    def add(self, kind: str, at_once: int, variant: str, wall_s: float, took_s: list[float]) -> None:
        """Add a round."""
        key = (kind, at_once, variant)
        self._walls_s[key] = self._walls_s.get(key, 0.0) + wall_s
        self._took_s.setdefault(key, []).extend(took_s)

    def print(
        self, console: Console, *, title: str, unit: str, variants: Mapping[str, str], bases: Mapping[str, str]
    ) -> None:
        """Print rates, percentiles, and the ratios to the variants in `bases`, whose values head their columns."""
        table = Table("", "at once", "", f"{unit}/s", "p50 ms", "p99 ms", *bases.values(), title=title)
        for (kind, at_once, variant), each in self._took_s.items():
            rate = self._rate(kind, at_once, variant)
            cuts = statistics.quantiles(each, n=100)
            table.add_row(
                kind,
                str(at_once),
                variants[variant],
                f"{rate:,.0f}",
                f"{cuts[49] * 1000:.1f}",
                f"{cuts[98] * 1000:.1f}",
                *(f"{rate / self._rate(kind, at_once, base):.2f}" for base in bases),
                end_section=variant == list(variants)[-1],
            )
        console.print(table)

    def _rate(self, kind: str, at_once: int, variant: str) -> float:
        key = (kind, at_once, variant)
        return len(self._took_s[key]) / self._walls_s[key]
