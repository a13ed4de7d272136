"""Workers that are killed with SIGKILL, one after the other: what became of all that was accepted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from tests.soak.process import Cradle
from tests.worker.hall import Hall, open_hall, until

THREADS = 16
ROUNDS = 3
"""In each, every thread gets a run, and a worker is killed."""
WORKERS = 3
NODES = ("first", "second")


async def test_nothing_is_lost_and_nothing_done_twice_when_workers_are_killed(
    database_url: str, cradle: Cradle, tmp_path: Path
) -> None:
    dice = random.Random(20261123)
    async with open_hall(database_url, tmp_path, cradle) as hall:
        workers = list(await asyncio.gather(*(hall.start_ready("--concurrency", "4") for _ in range(WORKERS))))
        threads = [uuid4() for _ in range(THREADS)]
        accepted: dict[str, UUID] = {}

        for i in range(ROUNDS):
            seen = sum(hall.written().values())
            for t, thread_id in enumerate(threads):
                accepted[f"{t}.{i}"] = await hall.submit(f"{t}.{i}", thread_id=thread_id, if_not_exists="create")
            await until(partial(_has_written, hall, seen + THREADS // 4))  # in the midst of it
            workers.pop(dice.randrange(len(workers))).process.kill()
            workers.append(await hall.start_ready("--concurrency", "4"))

        runs = {name: await hall.platform.join(run_id) for name, run_id in accepted.items()}
        states = [await hall.platform.state(thread_id) for thread_id in threads]

        assert Counter(run.status for run in runs.values()) == {"success": len(accepted)}
        for t, state in enumerate(
            states
        ):  # lost nothing, applied nothing twice, in order, never beside each other
            assert state.values["applied"] == [f"{t}.{i} {node}" for i in range(ROUNDS) for node in NODES], (
                f"thread {t}"
            )
        started = hall.written()
        assert set(started) == {f"{name} {node}" for name in accepted for node in NODES}
        # A node runs again only where it was killed: at most what the dead had in hand.
        assert sum(started.values()) - len(started) <= ROUNDS * 4


async def _has_written(hall: Hall, count: int) -> bool:
    return sum(hall.written().values()) >= count
