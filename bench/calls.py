"""Calls per second: a journaled write against plain httpx to the same local server.

Both post the same messages, 1 and 32 at once, in alternating rounds. The journal commits `sent` before the bytes
leave and `done` with the sealed answer after. A read is journaled once, after its answer. Absolute times say
little on a shared machine: read the ratios.

    uv run python bench/calls.py [--calls 600] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from langgraph.graph import END, START, StateGraph
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from typing_extensions import TypedDict

from perron import Agent, Platform, integration
from perron_desk import Desk
from perron_desk_server.process import DeskProcess, start_desk

Call = Callable[[int], Awaitable[object]]


class Load(TypedDict, total=False):
    """What one node is to send, and how long each call took."""

    kind: str
    calls: int
    at_once: int
    wall_s: float
    took_s: list[float]


async def spread(call: Call, *, calls: int, at_once: int) -> tuple[float, list[float]]:
    """Make `calls` calls with `at_once` under way; return the wall time and each one's, in seconds."""
    left = iter(range(calls))
    took: list[float] = []

    async def client() -> None:
        for i in left:
            started = time.perf_counter()
            await call(i)
            took.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return time.perf_counter() - started, took


async def journaled(state: Load) -> Load:
    """A node that makes all its calls itself, so that nothing but calls is measured."""
    desk = integration(Desk)

    async def write(i: int) -> object:
        return await desk.send_message(f"c-{i}", "Your card is on its way.")

    async def read(i: int) -> object:
        return await desk.customer(f"c-{i % 50 + 1}")

    wall_s, took_s = await spread(
        write if state["kind"] == "write" else read, calls=state["calls"], at_once=state["at_once"]
    )
    return {"wall_s": wall_s, "took_s": took_s}


def _graph() -> Any:
    return StateGraph(Load).add_node("load", journaled).add_edge(START, "load").add_edge("load", END)


async def plain(desk: DeskProcess, kind: str, *, calls: int, at_once: int) -> tuple[float, list[float]]:
    """The same requests with nothing but an httpx client."""
    headers = {"Authorization": f"Bearer {desk.token}"}
    async with httpx.AsyncClient(base_url=desk.url, headers=headers, timeout=30) as client:

        async def write(i: int) -> object:
            answer = await client.post("/messages", json={"to": f"c-{i}", "text": "Your card is on its way."})
            return answer.raise_for_status().json()

        async def read(i: int) -> object:
            return (await client.get(f"/customers/c-{i % 50 + 1}")).raise_for_status().json()

        return await spread(write if kind == "write" else read, calls=calls, at_once=at_once)


async def main(calls: int, rounds: int) -> None:
    """Measure all and print the table."""
    console = Console()
    with tempfile.TemporaryDirectory() as scratch, start_desk(Path(scratch) / "desk.sqlite") as desk:
        os.environ["PERRON_CONNECTION_DESK"] = desk.token
        os.environ["PERRON_INTEGRATION_DESK__BASE_URL"] = desk.url
        agents = [Agent("load", _graph())]
        async with Platform.open(home=Path(scratch), agents=agents, log_level="error") as platform:
            walls: dict[tuple[str, int, str], float] = {}
            took: dict[tuple[str, int, str], list[float]] = {}
            plan = [(k, n, v) for k in ("write", "read") for n in (1, 32) for _ in range(rounds) for v in "ab"]
            with Progress(console=console, transient=True) as progress:
                for kind, at_once, variant in progress.track(plan, description="measuring"):
                    count = calls if at_once > 1 else max(calls // 6, 10)
                    if variant == "a":
                        wall_s, each = await plain(desk, kind, calls=count, at_once=at_once)
                    else:
                        given = {"kind": kind, "calls": count, "at_once": at_once}
                        result = (await platform.run("load", given)).raise_for_status()
                        wall_s, each = result.output["wall_s"], result.output["took_s"]
                    key = (kind, at_once, variant)
                    walls[key] = walls.get(key, 0.0) + wall_s
                    took.setdefault(key, []).extend(each)
    _print(console, walls, took)


def _print(
    console: Console, walls: dict[tuple[str, int, str], float], took: dict[tuple[str, int, str], list[float]]
) -> None:
    table = Table("call", "at once", "", "calls/s", "p50 ms", "p99 ms", "× plain", title="bench/calls.py")
    names = {"a": "plain httpx", "b": "journaled"}
    for (kind, at_once, variant), each in took.items():
        rate = len(each) / walls[kind, at_once, variant]
        base = len(took[kind, at_once, "a"]) / walls[kind, at_once, "a"]
        cuts = statistics.quantiles(each, n=100)
        table.add_row(
            kind,
            str(at_once),
            names[variant],
            f"{rate:,.0f}",
            f"{cuts[49] * 1000:.1f}",
            f"{cuts[98] * 1000:.1f}",
            f"{rate / base:.2f}",
            end_section=variant == "b",
        )
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=600, help="calls per round at 32 at once; a sixth at 1")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each variant, alternating")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.calls, arguments.rounds))
