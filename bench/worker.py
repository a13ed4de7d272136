"""A worker of the benchmarks' graphs, as a process of its own; ends when its stdin does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphs import GRAPHS, TALKER
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from perron import Agent, Platform

STAMP = "stamp"
"""The agent whose only node says when it began."""


class Stamp(TypedDict, total=False):
    """A moment of this machine's monotonic clock, in seconds."""

    at: float


async def stamp(state: Stamp) -> Stamp:
    """Say what time it is."""
    return {"at": time.monotonic()}


def agents() -> list[Agent]:
    """Return the benchmarks' agents."""
    stamping = StateGraph(Stamp).add_node("stamp", stamp).add_edge(START, "stamp").add_edge("stamp", END)
    graphs = {**GRAPHS, "talker": TALKER}
    return [Agent(STAMP, stamping), *(Agent(name, graph.builder) for name, graph in graphs.items())]


@contextmanager
def worker_process(home: Path, *, concurrency: int = 16) -> Iterator[None]:
    """Run a worker on the embedded server in `home` as long as the block."""
    command = [sys.executable, __file__, str(home), str(concurrency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()


async def main(home: str, concurrency: str) -> None:
    """Work until nobody wants it any more."""
    async with Platform.open(
        home=Path(home), agents=agents(), plugins="none", log_level="error", concurrency=int(concurrency)
    ) as platform:
        while platform.worker.obstacle is not None:  # noqa: ASYNC110  # it is ready within milliseconds
            await asyncio.sleep(0.01)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
