"""Runs per second: plain LangGraph on Postgres against `Platform.run`, same graphs, same database, same minute.

(a) one stock `AsyncPostgresSaver` on a pool, shared by all runs, as most services have it
(b) a stock saver per run on the same pool
(c) `Platform.run`: everything recorded, fenced and streamed to the event log

All with `durability="sync"`, in alternating rounds, on the embedded PostgreSQL unless PERRON_DATABASE_URL is set.
Absolute times say little on a shared machine: read the ratios.

    uv run python bench/runs.py [--runs 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from graphs import GRAPHS
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from perron import Agent, Platform
from perron.database.checkpoint_pool import CheckpointPool, open_checkpoint_pool

Run = Callable[[str], Awaitable[None]]

VARIANTS = ("a", "b", "c")


async def measure(run: Run, graph: str, *, runs: int, at_once: int) -> list[float]:
    """Return the seconds that each run took, with `at_once` of them under way."""
    left = iter(range(runs))
    took: list[float] = []

    async def client() -> None:
        for _ in left:
            started = time.perf_counter()
            await run(graph)
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(at_once)))
    return took


def variants(platform: Platform, pool: CheckpointPool) -> dict[str, Run]:
    """Return the three ways to run a graph."""
    shared = AsyncPostgresSaver(pool)
    compiled = {name: graph.builder.compile(checkpointer=shared) for name, graph in GRAPHS.items()}

    async def one_saver(name: str) -> None:
        await compiled[name].ainvoke(GRAPHS[name].given(), _config(), durability="sync")

    async def saver_per_run(name: str) -> None:
        graph: Any = GRAPHS[name].compiled.copy(update={"checkpointer": AsyncPostgresSaver(pool)})
        await graph.ainvoke(GRAPHS[name].given(), _config(), durability="sync")

    async def on_platform(name: str) -> None:
        (await platform.run(name, GRAPHS[name].given())).raise_for_status()

    return {"a": one_saver, "b": saver_per_run, "c": on_platform}


def _config() -> Any:
    return {"configurable": {"thread_id": str(uuid4())}, "recursion_limit": 100}


async def main(runs: int, rounds: int) -> None:
    """Measure all and print the table."""
    console = Console()
    agents = [Agent(name, graph.builder) for name, graph in GRAPHS.items()]
    with tempfile.TemporaryDirectory() as home:
        async with Platform.open(home=Path(home), agents=agents, plugins="none", log_level="error") as platform:
            pool = await open_checkpoint_pool(platform.database_url, max_size=16)
            ways = variants(platform, pool)
            took: dict[tuple[str, int, str], list[float]] = {}
            walls: dict[tuple[str, int, str], float] = {}
            plan = [(g, n, v) for g in GRAPHS for n in (1, 16) for _ in range(rounds) for v in VARIANTS]
            with Progress(console=console, transient=True) as progress:
                for graph, at_once, variant in progress.track(plan, description="measuring"):
                    count = runs if at_once > 1 else max(runs // 4, 10)
                    await measure(ways[variant], graph, runs=max(count // 10, 2), at_once=at_once)  # warm
                    started = time.perf_counter()
                    each = await measure(ways[variant], graph, runs=count, at_once=at_once)
                    key = (graph, at_once, variant)
                    walls[key] = walls.get(key, 0.0) + time.perf_counter() - started
                    took.setdefault(key, []).extend(each)
            await pool.close()
    _print(console, took, walls)


def _print(
    console: Console, took: dict[tuple[str, int, str], list[float]], walls: dict[tuple[str, int, str], float]
) -> None:
    table = Table("graph", "at once", "", "runs/s", "p50 ms", "p99 ms", "× (a)", "× (b)", title="bench/runs.py")
    for (graph, at_once, variant), each in took.items():
        rate = len(each) / walls[graph, at_once, variant]
        ratios = [rate / (len(took[graph, at_once, base]) / walls[graph, at_once, base]) for base in ("a", "b")]
        cuts = statistics.quantiles(each, n=100)
        table.add_row(
            graph,
            str(at_once),
            f"({variant})",
            f"{rate:,.0f}",
            f"{cuts[49] * 1000:.1f}",
            f"{cuts[98] * 1000:.1f}",
            *(f"{ratio:.2f}" for ratio in ratios),
            end_section=variant == "c",
        )
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs per round at 16 at once; a quarter at 1")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each variant, alternating")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.rounds))
