"""Token events: how many in a second, how soon the first, and what many readers of one run cost.

Runs of 50 tokens each, read to the end:

(a) `graph.astream(stream_mode="messages")` with a stock `AsyncPostgresSaver`: the tokens stay in the process
(b) `Platform.stream` in the process that executes
(c) `Platform.stream` in a process that only reads, while a worker process executes

Then runs of 200 tokens that one reader follows, or many, in a process that does not execute them: the time until
all have all events. All in alternating rounds, on the embedded PostgreSQL. Absolute times say little on a shared
machine: read the ratios.

    uv run python bench/stream.py [--runs 100] [--rounds 3] [--readers 500]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from graphs import TALKER
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from measuring import spread
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from worker import agents, worker_process

from perron import Platform
from perron.database.checkpoint_pool import CheckpointPool, open_checkpoint_pool

Tokens = Callable[[], AsyncIterator[object]]

VARIANTS = {"a": "(a) in LangGraph", "b": "(b) in its process", "c": "(c) in another"}
TOKENS = 50
FOLLOWED_TOKENS = 200


def variants(here: Platform, reading: Platform, pool: CheckpointPool) -> dict[str, Tokens]:
    """Return the three ways to get a run's tokens."""
    compiled: Any = TALKER.compiled

    async def bare() -> AsyncIterator[object]:
        graph = compiled.copy(update={"checkpointer": AsyncPostgresSaver(pool)})
        config = {"configurable": {"thread_id": str(uuid4())}}
        async for chunk in graph.astream(TALKER.given(), config, stream_mode="messages", durability="sync"):
            yield chunk

    async def on(platform: Platform) -> AsyncIterator[object]:
        async for event in platform.stream("talker", TALKER.given(), stream_mode=["messages-tuple"]):
            if event.event == "messages":
                yield event

    return {"a": bare, "b": lambda: on(here), "c": lambda: on(reading)}


class Streams:
    """What was measured of runs that were read while they spoke."""

    def __init__(self) -> None:
        self._walls_s: dict[tuple[int, str], float] = {}
        self._first_s: dict[tuple[int, str], list[float]] = {}

    async def measure(self, at_once: int, variant: str, tokens: Tokens, *, runs: int) -> None:
        """Read that many runs."""
        first_s: list[float] = []

        async def read(_: int) -> None:
            began_at = time.perf_counter()
            count = 0
            async for _token in tokens():
                count += 1
                if count == 1:
                    first_s.append(time.perf_counter() - began_at)
            assert count >= TOKENS, f"{count} tokens of {TOKENS}"

        wall_s, _ = await spread(read, times=runs, at_once=at_once)
        key = (at_once, variant)
        self._walls_s[key] = self._walls_s.get(key, 0.0) + wall_s
        self._first_s.setdefault(key, []).extend(first_s)

    def print(self, console: Console) -> None:
        """Print rates and latencies, and their ratios to (a)."""
        table = Table("at once", "", "tokens/s", "first p50 ms", "p99", "tokens/s × (a)", "first × (a)")
        for (at_once, variant), first_s in self._first_s.items():
            base = (at_once, "a")
            p50, p99 = (statistics.quantiles(first_s, n=100)[i] * 1000 for i in (49, 98))
            base_p50 = statistics.median(self._first_s[base]) * 1000
            rate = len(first_s) * TOKENS / self._walls_s[at_once, variant]
            base_rate = len(self._first_s[base]) * TOKENS / self._walls_s[base]
            table.add_row(
                str(at_once), VARIANTS[variant], f"{rate:,.0f}", f"{p50:.1f}", f"{p99:.1f}",
                f"{rate / base_rate:.2f}", f"{p50 / base_p50:.2f}", end_section=variant == "c",
            )  # fmt: skip
        console.print(table)


async def follow_together(platform: Platform, readers: int, *, pause_s: float) -> float:
    """Return how long it takes until all readers of one run have all of its events."""

    async def follow(run_id: UUID) -> int:
        return len([event async for event in platform.follow(run_id)])

    given = {"tokens": FOLLOWED_TOKENS, "pause_s": pause_s}
    began_at = time.perf_counter()
    run_id = await platform.submit("talker", given, stream_mode=["messages-tuple"])
    counts = await asyncio.gather(*(follow(run_id) for _ in range(readers)))
    assert set(counts) == {counts[0]}
    assert counts[0] >= FOLLOWED_TOKENS
    return time.perf_counter() - began_at


async def main(runs: int, rounds: int, readers: int) -> None:
    """Measure all and print the tables."""
    console = Console()
    options: dict[str, Any] = {"agents": agents(), "plugins": "none", "log_level": "error"}
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as other:
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(Platform.open(home=Path(home), **options))
            # A server of its own: this process's worker would take its runs.
            reading = await stack.enter_async_context(Platform.open(home=Path(other), worker=False, **options))
            stack.enter_context(worker_process(Path(other)))
            pool = await open_checkpoint_pool(here.database_url, max_size=16)
            stack.push_async_callback(pool.close)
            ways = variants(here, reading, pool)
            streams = Streams()
            plan = [(n, v) for n in (1, 16) for _ in range(rounds) for v in VARIANTS]
            together: dict[tuple[int, float], list[float]] = {}
            crowds = [(n, pause_s) for pause_s in (0.0, 0.02) for _ in range(rounds) for n in (1, readers)]
            with Progress(console=console, transient=True) as progress:
                for at_once, variant in progress.track(plan, description="streaming"):
                    count = runs if at_once > 1 else max(runs // 4, 10)
                    await Streams().measure(at_once, variant, ways[variant], runs=2 * at_once)  # warm
                    await streams.measure(at_once, variant, ways[variant], runs=count)
                for n, pause_s in progress.track(crowds, description="following"):
                    took_s = await follow_together(reading, n, pause_s=pause_s)
                    together.setdefault((n, pause_s), []).append(took_s)
    streams.print(console)
    table = Table("readers of one run", "pause between tokens ms", "until all have all, s", "× one reader")
    for (n, pause_s), times_s in together.items():
        median_s = statistics.median(times_s)
        ratio = median_s / statistics.median(together[1, pause_s])
        table.add_row(str(n), f"{pause_s * 1000:.0f}", f"{median_s:.2f}", f"{ratio:.2f}")
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="runs per round at 16 at once; a quarter at 1")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each variant, alternating")
    parser.add_argument("--readers", type=int, default=500, help="readers of one run")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.rounds, arguments.readers))
