"""How soon a run starts: on an idle system against a bare NOTIFY, and with a long queue against an empty one.

Pick-up: from the moment when `submit` has returned until the first node of the run begins, in another process that
listens. Beside it a NOTIFY round trip between two processes on the same server.

Claim: PgQueuer's dequeue and the claim of the run, with nothing else in the queue, and with 10,000 runs on 2,000
threads in line; and the look for due runs that each worker makes besides.

    uv run python bench/dispatch.py [--runs 10000] [--threads 2000] [--samples 300]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from graphs import GRAPHS
from measuring import spread
from pgqueuer.ports.repository import EntrypointExecutionParameter
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from worker import STAMP, agents, worker_process

from perron import Platform
from perron.caller import Caller
from perron.database.engine import Database, connect_asyncpg
from perron.database.url import DatabaseUrl
from perron.dispatch.queue_schema import BELL, QUEUE_SCHEMA, queries_on
from perron.ids import RunId, ThreadId, WorkerId, new_id
from perron.models.worker import Worker
from perron.repositories.run import RunRepository
from perron.runtime.claim import claim

AGENT = "one-node"


async def echo(url: str) -> None:
    """Answer each notification with another, until stdin ends."""
    connection = await connect_asyncpg(DatabaseUrl.parse(url))
    pings: asyncio.Queue[object] = asyncio.Queue()
    await connection.add_listener("ping", lambda *_: pings.put_nowait(None))

    async def answer() -> None:
        while True:
            await pings.get()
            await connection.execute("NOTIFY pong")

    answering = asyncio.create_task(answer())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    answering.cancel()


@contextmanager
def echo_process(url: DatabaseUrl) -> Iterator[None]:
    """Run `echo` in another process as long as the block."""
    command = [sys.executable, __file__, "--echo", url.full]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()


async def round_trips(url: DatabaseUrl, samples: int) -> list[float]:
    """Return the seconds that each NOTIFY took to another process and back."""
    took_s = []
    connection = await connect_asyncpg(url)
    pongs: asyncio.Queue[object] = asyncio.Queue()
    await connection.add_listener("pong", lambda *_: pongs.put_nowait(None))
    for _ in range(samples):
        started = time.monotonic()
        await connection.execute("NOTIFY ping")
        await pongs.get()
        took_s.append(time.monotonic() - started)
    await connection.close()
    return took_s


async def pick_ups(platform: Platform, samples: int) -> list[float]:
    """Return the seconds from each run's creation to its first node, one run at a time."""
    took_s = []
    for _ in range(samples):
        run_id = await platform.submit(STAMP, {})
        created_at = time.monotonic()
        result = await platform.join(run_id)
        took_s.append(max(result.output["at"] - created_at, 0.0))
    return took_s


class Claimer:
    """A worker that takes runs out of the queue and does nothing with them."""

    def __init__(self, database: Database, connection: asyncpg.Connection[Any], worker_id: WorkerId) -> None:
        self._database = database
        self._queries = queries_on(connection, QUEUE_SCHEMA)
        self._worker_id = worker_id

    async def claim(self) -> float:
        """Take the next run; return the seconds that it took."""
        parameters = EntrypointExecutionParameter(concurrency_limit=0)
        started = time.monotonic()
        jobs = await self._queries.dequeue(
            batch_size=1,
            entrypoints={f"{BELL}{AGENT}": parameters},  # type: ignore[dict-item]
            queue_manager_id=self._worker_id,  # type: ignore[arg-type]
            global_concurrency_limit=None,
            heartbeat_timeout=timedelta(seconds=30),
        )
        ids = jobs[0].payload or b""
        run_id, thread_id = RunId(UUID(bytes=ids[:16])), ThreadId(UUID(bytes=ids[16:]))
        run = await claim(self._database, run_id, thread_id, worker_id=self._worker_id)
        assert run is not None
        return time.monotonic() - started

    async def look(self) -> float:
        """Look for runs that are due, as each worker does besides; return the seconds that it took."""
        started = time.monotonic()
        async with self._database.begin() as session:
            await RunRepository(session, Caller.system()).find_due(agents=[AGENT], limit=16)
        return time.monotonic() - started


@asynccontextmanager
async def open_claimer(url: DatabaseUrl) -> AsyncIterator[Claimer]:
    """Register a worker that lives for an hour."""
    worker_id = WorkerId(new_id())
    database = Database(url)
    async with database.begin() as session:
        session.add(Worker(worker_id=worker_id, host="bench", pid=0, version="0", lease_s=3600))
    connection = await connect_asyncpg(url)
    yield Claimer(database, connection, worker_id)
    await connection.close()
    await database.close()


def _row(table: Table, name: str, took_s: Sequence[float], base_s: float | None) -> None:
    cuts = statistics.quantiles(took_s, n=100)
    ratios = ("", "") if base_s is None else (f"{cuts[49] / base_s:.1f}", f"{cuts[98] / base_s:.1f}")
    table.add_row(name, f"{cuts[49] * 1000:.1f}", f"{cuts[98] * 1000:.1f}", *ratios)


async def main(runs: int, threads: int, samples: int) -> None:
    """Measure all and print the table."""
    console = Console()
    options: dict[str, Any] = {"agents": agents(), "plugins": "none", "log_level": "error"}
    table = Table("", "p50 ms", "p99 ms", "p50 × base", "p99 × base", title="bench/dispatch.py")
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        async with Platform.open(home=home, worker=False, **options) as platform:
            with worker_process(home):
                await pick_ups(platform, 20)  # warm
                with echo_process(platform.database_url):
                    notify_s = await round_trips(platform.database_url, samples)
                pick_up_s = await pick_ups(platform, samples)
            base_s = statistics.median(notify_s)
            _row(table, "NOTIFY round trip (base)", notify_s, None)
            _row(table, "pick-up, idle", pick_up_s, base_s)
            table.add_section()

            async with open_claimer(platform.database_url) as claimer:
                empty_s = []
                for _ in range(samples):
                    await platform.submit(AGENT, GRAPHS[AGENT].given())
                    empty_s.append(await claimer.claim())
                base_s = statistics.median(empty_s)
                _row(table, "claim, empty queue (base)", empty_s, None)
                ids = [uuid4() for _ in range(threads)]
                with Progress(console=console, transient=True) as progress:
                    task = progress.add_task(f"putting {runs:,} runs in line", total=runs)

                    async def submit(i: int) -> None:
                        thread_id, given = ids[i % threads], GRAPHS[AGENT].given()
                        await platform.submit(AGENT, given, thread_id=thread_id, if_not_exists="create")
                        progress.advance(task)

                    await spread(submit, times=runs, at_once=16)
                full_s = [await claimer.claim() for _ in range(min(samples, threads))]
                _row(table, f"claim, {runs:,} runs on {threads:,} threads", full_s, base_s)
                look_s = [await claimer.look() for _ in range(50)]
                _row(table, "look for due runs, the same", look_s, base_s)
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="how many runs are in line")
    parser.add_argument("--threads", type=int, default=2_000, help="on how many threads")
    parser.add_argument("--samples", type=int, default=300, help="how often each thing is measured")
    parser.add_argument("--echo", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    asyncio.run(
        echo(arguments.echo) if arguments.echo else main(arguments.runs, arguments.threads, arguments.samples)
    )
