"""Runs per second: plain LangGraph on Postgres against `Platform.run`, same graphs, same database, same minute.

(a) one stock `AsyncPostgresSaver` on a pool, shared by all runs, as most services have it
(b) a stock saver per run on the same pool
(c) `Platform.run`: everything recorded, fenced and streamed to the event log
(d) the same through the queue: this process waits, a worker process executes

All with `durability="sync"`, in alternating rounds, on the embedded PostgreSQL unless PERRON_DATABASE_URL is set.
Absolute times say little on a shared machine: read the ratios.

    uv run python bench/runs.py [--runs 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from graphs import GRAPHS
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from measuring import Measured, spread
from rich.console import Console
from rich.progress import Progress
from worker import agents, worker_process

from perron import Platform
from perron.database.checkpoint_pool import CheckpointPool, open_checkpoint_pool

Run = Callable[[str], Awaitable[None]]

VARIANTS = {"a": "(a)", "b": "(b)", "c": "(c)", "d": "(d)"}


def variants(platform: Platform, queueing: Platform, pool: CheckpointPool) -> dict[str, Run]:
    """Return the four ways to run a graph; `queueing` executes nothing itself."""
    shared = AsyncPostgresSaver(pool)
    compiled = {name: graph.builder.compile(checkpointer=shared) for name, graph in GRAPHS.items()}

    async def one_saver(name: str) -> None:
        await compiled[name].ainvoke(GRAPHS[name].given(), _config(), durability="sync")

    async def saver_per_run(name: str) -> None:
        graph: Any = GRAPHS[name].compiled.copy(update={"checkpointer": AsyncPostgresSaver(pool)})
        await graph.ainvoke(GRAPHS[name].given(), _config(), durability="sync")

    async def on_platform(name: str) -> None:
        (await platform.run(name, GRAPHS[name].given())).raise_for_status()

    async def through_the_queue(name: str) -> None:
        (await queueing.run(name, GRAPHS[name].given())).raise_for_status()

    return {"a": one_saver, "b": saver_per_run, "c": on_platform, "d": through_the_queue}


def _config() -> Any:
    return {"configurable": {"thread_id": str(uuid4())}, "recursion_limit": 100}


async def _run(run: Run, graph: str, _: int) -> None:
    await run(graph)


async def main(runs: int, rounds: int) -> None:
    """Measure all and print the table."""
    console = Console()
    options: dict[str, Any] = {"agents": agents(), "plugins": "none", "log_level": "error"}
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as other:
        async with AsyncExitStack() as stack:
            platform = await stack.enter_async_context(Platform.open(home=Path(home), **options))
            # A server of its own: this process's worker would take its runs.
            queueing = await stack.enter_async_context(Platform.open(home=Path(other), worker=False, **options))
            stack.enter_context(worker_process(Path(other)))
            pool = await open_checkpoint_pool(platform.database_url, max_size=16)
            ways = variants(platform, queueing, pool)
            measured = Measured()
            plan = [(g, n, v) for g in GRAPHS for n in (1, 16) for _ in range(rounds) for v in VARIANTS]
            with Progress(console=console, transient=True) as progress:
                for graph, at_once, variant in progress.track(plan, description="measuring"):
                    count = runs if at_once > 1 else max(runs // 4, 10)
                    run = partial(_run, ways[variant], graph)
                    await spread(run, times=max(count // 10, 2), at_once=at_once)  # warm
                    measured.add(graph, at_once, variant, *await spread(run, times=count, at_once=at_once))
            await pool.close()
    bases = {"a": "× (a)", "b": "× (b)", "c": "× (c)"}
    measured.print(console, title="bench/runs.py", unit="runs", variants=VARIANTS, bases=bases)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs per round at 16 at once; a quarter at 1")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each variant, alternating")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.rounds))
