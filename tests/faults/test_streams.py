"""Streams while processes die: what readers get, and what becomes of runs whose reader is gone."""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import groupby
from pathlib import Path
from uuid import UUID

from tests.conftest import Deployment
from tests.soak.process import Cradle
from tests.worker.hall import Hall, WorkerProcess, open_hall

from perron.core.event import Event
from perron.services.event import EventService

READER = Path(__file__).with_name("reader.py")
TEXT = " ".join(f"w{i}" for i in range(100))


def assert_whole(events: list[Event]) -> None:
    """Each epoch's ids are in order, each once; hidden steps leave places that no token stands on."""
    places = [tuple(int(part) for part in event.id.split("-")) for event in events]
    assert places == sorted(set(places))
    assert [epoch for epoch, _ in groupby(places, key=lambda place: place[0])] == [1, 2]
    tokens = [(place, event) for place, event in zip(places, events, strict=True) if event.event == "messages"]
    for _, of_epoch in groupby(tokens, key=lambda token: token[0][0]):
        each = list(of_epoch)
        assert [place[1] for place, _ in each] == list(range(each[0][0][1], each[0][0][1] + len(each)))
        text = "".join(event.data[0]["content"] for _, event in each)
        assert TEXT.startswith(text)
    assert text == TEXT  # of the epoch that came to the end
    assert events[-1].event == "end"


async def worker_of(hall: Hall, run_id: UUID, workers: list[WorkerProcess]) -> WorkerProcess:
    platform = hall.platform
    run = await platform.runs.get(platform.caller, run_id)
    [pid] = [
        row.pid for row, _ in await platform.workers.get_all(platform.caller) if row.worker_id == run.worker_id
    ]
    return next(worker for worker in workers if worker.pid == pid)


async def read_in_a_process(hall: Hall) -> tuple[asyncio.subprocess.Process, UUID]:
    """Let a process read a run that waits, and return both."""
    given = {"name": "run", "ledger": str(hall.ledger), "gate": str(hall.gate)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, READER, "work", json.dumps(given), env=hall.environment(), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    return process, UUID(json.loads(await process.stdout.readline())["run_id"])


async def test_streams_are_whole_and_readers_missed_when_processes_die(
    deployment: Deployment, cradle: Cradle, tmp_path: Path
) -> None:
    async with open_hall(deployment.url, tmp_path, cradle) as hall:
        platform = hall.platform
        *workers, (reader, deserted) = await asyncio.gather(
            hall.start_ready(), hall.start_ready(), read_in_a_process(hall)
        )
        modes = ["messages-tuple"]
        run_id = await platform.submit(
            "talking", {"name": "t", "ledger": str(hall.ledger)}, stream_mode=modes, stream_resumable=True
        )
        events: list[Event] = []
        async for event in platform.follow(run_id):
            events.append(event)
            if len(events) == 30:
                listening = "query LIKE 'LISTEN%%events%%'"
                await deployment.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listening}")
            if len(events) == 60:
                (await worker_of(hall, run_id, workers)).process.kill()
                reader.kill()

        again = [event async for event in platform.follow(run_id)]
        await deployment.sql("UPDATE perron.ended_streams SET ended_at = ended_at - interval '2 minutes'")
        await EventService(platform._opened.shared.database).tidy()
        resumed = [event async for event in platform.follow(run_id, after=events[40].id)]
        run = await asyncio.wait_for(platform.join(deserted), 30)
        await reader.wait()

        assert_whole(events)
        assert again == events
        assert resumed == events[41:]
        [packed] = await deployment.sql("SELECT count(*) AS n FROM perron.run_events WHERE event = 'messages'")
        assert packed["n"] == 2
        assert run.status == "interrupted"
        assert await deployment.sql("SELECT 1 FROM perron.run_readers") == []
