"""Many runs in line at once: on many threads, and on a single one."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from uuid import UUID, uuid4

from tests.worker.hall import Hall

THREADS = 60
RUNS_A_THREAD = 5
RUNS_ON_ONE = 120
AT_ONCE = 16


async def test_hundreds_of_runs_in_line_each_end_once_and_in_the_order_of_their_thread(hall: Hall) -> None:
    lines = {uuid4(): [f"{t}.{i}" for i in range(RUNS_A_THREAD)] for t in range(THREADS)}
    lines[uuid4()] = [f"one.{i}" for i in range(RUNS_ON_ONE)]
    accepted: dict[str, UUID] = {}
    room = asyncio.Semaphore(AT_ONCE)

    async def put_in_line(thread_id: UUID, names: list[str]) -> None:
        for name in names:
            async with room:
                accepted[name] = await hall.submit(
                    name, agent="noting", thread_id=thread_id, if_not_exists="create"
                )

    await asyncio.gather(*(put_in_line(thread_id, names) for thread_id, names in lines.items()))
    await asyncio.gather(hall.start_ready("--concurrency", "16"), hall.start_ready("--concurrency", "16"))
    runs = [await hall.platform.join(run_id) for run_id in accepted.values()]

    assert Counter(run.status for run in runs) == {"success": THREADS * RUNS_A_THREAD + RUNS_ON_ONE}
    begun: dict[str, list[str]] = defaultdict(list)
    for line in hall.written_in_order():
        begun[line.partition(".")[0]].append(line.removesuffix(" first"))
    # Each once, and those of a thread one after the other.
    assert sorted(begun.values()) == sorted(lines.values())
    for thread_id, names in lines.items():
        state = await hall.platform.state(thread_id)
        assert state.values["applied"] == [f"{name} first" for name in names]
