"""Readers of runs that another process executes: they look once a minute, and are woken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conftest import Deployment, State, chain

SELDOM = 60.0


async def first(state: State) -> State:
    return {"log": ["first"]}


async def test_the_end_of_a_run_elsewhere_wakes_who_waits_for_it(deployment: Deployment) -> None:
    await deployment.open(chain(first))
    reader = await deployment.open(chain(first), worker=False, poll_s=SELDOM)

    async with asyncio.timeout(20):
        runs = [await reader.run("agent", {"text": ""}) for _ in range(3)]

    assert {run.status for run in runs} == {"success"}


async def test_events_of_a_run_elsewhere_come_as_they_are_written(deployment: Deployment) -> None:
    go = asyncio.Event()

    async def second(state: State) -> State:
        await go.wait()
        return {"log": ["second"]}

    await deployment.open(chain(first, second))
    reader = await deployment.open(chain(first, second), worker=False, poll_s=SELDOM)
    updates: list[str] = []

    async with asyncio.timeout(20):
        async for event in reader.stream("agent", {"text": ""}, stream_mode=["updates"]):
            if event.event == "updates":
                updates.extend(event.data)
                go.set()

    assert updates == ["first", "second"]


async def test_many_readers_of_one_run_see_the_same(deployment: Deployment) -> None:
    await deployment.open(chain(first))
    reader = await deployment.open(chain(first), worker=False, poll_s=SELDOM)
    run_id = await reader.submit("agent", {"text": ""})

    async def read() -> list[tuple[str, str]]:
        return [(event.id, event.event) async for event in reader.follow(run_id)]

    async with asyncio.timeout(20):
        seen = await asyncio.gather(*(read() for _ in range(20)))

    assert seen[0][-1][1] == "end"
    assert all(each == seen[0] for each in seen)


@pytest.mark.parametrize("channel", ["perron_events"])
async def test_a_reader_whose_connection_is_lost_is_woken_when_it_is_back(
    deployment: Deployment, channel: str
) -> None:
    go = asyncio.Event()

    async def wait(state: State) -> State:
        await go.wait()
        return {"log": ["done"]}

    await deployment.open(chain(wait))
    reader = await deployment.open(chain(wait), worker=False, poll_s=SELDOM)
    joined = asyncio.create_task(reader.join(await reader.submit("agent", {"text": ""})))

    async with asyncio.timeout(20), deployment.connect() as connection:
        listening = f"SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%{channel}%%'"
        while not (found := await (await connection.execute(listening)).fetchone()):
            pass
        await connection.execute("SELECT pg_terminate_backend(%s, 5000)", (found["pid"],))
        go.set()
        run = await joined

    assert run.output["log"] == ["done"]


async def test_who_hears_nothing_looks_now_and_then(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await deployment.open(chain(first), worker=False, poll_s=0.1)
    looks = 0
    get = reader.runs.get

    async def counted(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return await get(*given)

    run_id = await reader.submit("agent", {"text": ""})
    monkeypatch.setattr(reader.runs, "get", counted)
    monkeypatch.setattr("perron.runtime.readers.keep_connected", never)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await reader.join(run_id)

    assert 2 <= looks <= 15


async def never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()
