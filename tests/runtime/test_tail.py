"""Many followers of one run: they share what is read, and those who do not read cost nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
from collections import Counter
from typing import Any

from langgraph.config import get_stream_writer
from sqlalchemy import event
from tests.conftest import Deployment, State, chain

from perron.core.event import Event
from perron.core.platform import Platform
from perron.repositories.run_event import RunEventRepository
from perron.runtime.shared_work import SharedWork


class Statements:
    """What a platform asks its database, by table."""

    def __init__(self, platform: Platform) -> None:
        self.of: Counter[str] = Counter()
        event.listen(platform._opened.shared.database.engine.sync_engine, "before_cursor_execute", self._count)

    def _count(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.of["events"] += "FROM perron.run_events" in statement
        self.of["checkpoints"] += "checkpoints" in statement


async def test_followers_of_a_run_share_its_reading(deployment: Deployment) -> None:
    gate = asyncio.Event()

    async def talk(state: State) -> State:
        await gate.wait()
        for i in range(100):
            get_stream_writer()(i)
            await asyncio.sleep(0)
        return {"log": ["talked"]}

    agent = chain(talk)
    await deployment.open(agent)
    platform = await deployment.open(agent, worker=False, poll_s=60.0)
    run_id = await platform.submit("agent", {"text": ""}, stream_mode=["custom", "values"])
    statements = Statements(platform)

    async def follow(pause_s: float) -> list[Event]:
        events = []
        async for each in platform.follow(run_id):
            events.append(each)
            await asyncio.sleep(pause_s)
        return events

    alone = asyncio.create_task(follow(0))
    following = [asyncio.create_task(follow(0.001 * (i % 3))) for i in range(50)]
    gate.set()
    streams = await asyncio.gather(alone, *following)

    assert [each.data for each in streams[0] if each.event == "custom"] == list(range(100))
    assert [each.data["log"] for each in streams[0] if each.event == "values"] == [[], ["talked"]]
    assert all(stream == streams[0] for stream in streams)
    assert statements.of["events"] < 150  # and not 50 times as many
    assert statements.of["checkpoints"] < 20


async def test_a_reader_that_never_reads_holds_nothing(deployment: Deployment) -> None:
    """Neither the run nor memory, and it can read on when it wants to."""

    async def talk(state: State) -> State:
        for i in range(30):
            get_stream_writer()({"i": i, "body": os.urandom(250_000).hex()})
            await asyncio.sleep(0.001)
        return {}

    platform = await deployment.open(chain(talk))
    asleep = platform.stream("agent", {"text": ""}, stream_mode=["custom"])
    await anext(asleep)
    [run] = await platform.runs.search(platform.caller)
    tracemalloc.start()
    try:
        assert (await platform.join(run.run_id)).status == "success"
        read = [each.data["i"] async for each in platform.follow(run.run_id) if each.event == "custom"]
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert read == list(range(30))
    assert held < 10_000_000  # of 15 MB
    assert [each.data["i"] async for each in asleep if each.event == "custom"] == list(range(30))


async def test_a_page_has_a_limit_in_bytes(deployment: Deployment) -> None:
    async def talk(state: State) -> State:
        for size in (10, 150_000, 150_000, 150_000, 700_000, 10):
            get_stream_writer()("ab" * size)  # as JSON: the database keeps it compressed
        return {}

    platform = await deployment.open(chain(talk))
    run = await platform.run("agent", {"text": ""}, stream_mode=["custom"])
    pages, after = [], (0, 0)
    async with platform._opened.shared.database.begin() as session:
        events = RunEventRepository(session, platform.caller)
        while rows := await events.get_after(run.run_id, epoch=after[0], n=after[1], limit_bytes=400_000):
            pages.append([row.n for row in rows if row.event == "custom"])
            after = (rows[-1].epoch, rows[-1].n)

    assert pages == [[3, 4, 5], [6, 7], [8]]


async def test_an_idle_stream_beats(deployment: Deployment) -> None:
    gate = asyncio.Event()

    async def wait(state: State) -> State:
        await gate.wait()
        return {}

    platform = await deployment.open(chain(wait))
    seen: list[str] = []
    async for each in platform.stream("agent", {"text": ""}, stream_mode=["custom"], heartbeat_s=0.05):
        seen.append(each.event)
        if seen.count("heartbeat") == 3:
            gate.set()

    assert [each for each in seen if each != "heartbeat"] == ["metadata", "end"]
    assert seen.count("heartbeat") >= 3


async def test_work_that_ends_together_is_forgotten_in_peace() -> None:
    shared, gate, told = SharedWork[bool](), asyncio.Event(), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))

    asked = [asyncio.create_task(shared.get(key, gate.wait)) for key in range(3)]
    await asyncio.sleep(0)  # they wait now
    gate.set()

    assert await asyncio.gather(*asked) == [True] * 3
    assert told == []
