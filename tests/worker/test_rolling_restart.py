"""Workers that are replaced one after the other, while runs are under way and in line."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from functools import partial
from uuid import UUID, uuid4

from tests.worker.hall import Hall, WorkerProcess, until

CONCURRENCY = 4
WORKERS = 2
BEHIND = 3
"""Runs in line behind each of those that are under way."""


async def test_a_rolling_restart_under_load_counts_no_attempt_and_does_nothing_twice(hall: Hall) -> None:
    workers = await asyncio.gather(*(_start(hall) for _ in range(WORKERS)))
    accepted: dict[str, UUID] = {}

    for number, leaving in enumerate(workers):
        hall.gate = hall.gate.with_name(f"gate{number}")
        threads = [uuid4() for _ in range(WORKERS * CONCURRENCY)]  # as many as there is room for
        held = [f"{number}.{t}.held" for t in range(len(threads))]
        for name, thread_id in zip(held, threads, strict=True):
            accepted[name] = await hall.submit(name, is_gated=True, thread_id=thread_id, if_not_exists="create")
        for t, thread_id in enumerate(threads):
            for i in range(BEHIND):
                name = f"{number}.{t}.{i}"
                accepted[name] = await hall.submit(name, thread_id=thread_id)
        await until(partial(_have_begun, hall, held))

        await _start(hall)
        leaving.process.send_signal(signal.SIGTERM)
        await until(partial(_is_draining, leaving))
        hall.gate.touch()
        assert await leaving.ended() == 0

    for run_id in accepted.values():
        await hall.platform.join(run_id)
    runs = [await hall.platform.runs.get(hall.platform.caller, run_id) for run_id in accepted.values()]
    assert Counter((run.status, run.attempt) for run in runs) == {("success", 1): len(accepted)}
    assert hall.written() == Counter(f"{name} {node}" for name in accepted for node in ("first", "second"))
    # Each that left had all its room full, and gave that back.
    assert sum(run.epoch > 1 for run in runs) >= WORKERS * CONCURRENCY


async def _start(hall: Hall) -> WorkerProcess:
    return await hall.start_ready("--concurrency", str(CONCURRENCY))


async def _have_begun(hall: Hall, names: list[str]) -> bool:
    return {f"{name} first" for name in names} <= hall.written().keys()


async def _is_draining(worker: WorkerProcess) -> bool:
    return (await worker.get("/ready")).text == "draining\n"
