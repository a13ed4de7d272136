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
import tempfile
from pathlib import Path
from typing import Any

import httpx
from langgraph.graph import END, START, StateGraph
from measuring import Measured, spread
from rich.console import Console
from rich.progress import Progress
from typing_extensions import TypedDict

from perron import Agent, Platform, integration
from perron_desk import Desk
from perron_desk_server.process import DeskProcess, start_desk

VARIANTS = {"a": "plain httpx", "b": "journaled"}


class Load(TypedDict, total=False):
    """What one node is to send, and how long each call took."""

    kind: str
    calls: int
    at_once: int
    wall_s: float
    took_s: list[float]


async def journaled(state: Load) -> Load:
    """A node that makes all its calls itself, so that nothing but calls is measured."""
    desk = integration(Desk)

    async def write(i: int) -> object:
        return await desk.send_message(f"c-{i}", "Your card is on its way.")

    async def read(i: int) -> object:
        return await desk.customer(f"c-{i % 50 + 1}")

    wall_s, took_s = await spread(
        write if state["kind"] == "write" else read, times=state["calls"], at_once=state["at_once"]
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

        return await spread(write if kind == "write" else read, times=calls, at_once=at_once)


async def main(calls: int, rounds: int) -> None:
    """Measure all and print the table."""
    console = Console()
    with tempfile.TemporaryDirectory() as scratch, start_desk(Path(scratch) / "desk.sqlite") as desk:
        os.environ["PERRON_CONNECTION_DESK"] = desk.token
        os.environ["PERRON_INTEGRATION_DESK__BASE_URL"] = desk.url
        agents = [Agent("load", _graph())]
        async with Platform.open(home=Path(scratch), agents=agents, log_level="error") as platform:
            measured = Measured()
            plan = [(k, n, v) for k in ("write", "read") for n in (1, 32) for _ in range(rounds) for v in VARIANTS]
            with Progress(console=console, transient=True) as progress:
                for kind, at_once, variant in progress.track(plan, description="measuring"):
                    count = calls if at_once > 1 else max(calls // 6, 10)
                    if variant == "a":
                        wall_s, each = await plain(desk, kind, calls=count, at_once=at_once)
                    else:
                        given = {"kind": kind, "calls": count, "at_once": at_once}
                        result = (await platform.run("load", given)).raise_for_status()
                        wall_s, each = result.output["wall_s"], result.output["took_s"]
                    measured.add(kind, at_once, variant, wall_s, each)
    measured.print(console, title="bench/calls.py", unit="calls", variants=VARIANTS, bases={"a": "× plain"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=600, help="calls per round at 32 at once; a sixth at 1")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each variant, alternating")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.calls, arguments.rounds))
