"""Runs that are delivered by the queue: nothing here is found by a look, which comes once a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.conftest import Deployment, State, chain

from perron.core.platform import Platform

SELDOM: dict[str, Any] = {"poll_s": 60.0}


async def greet(state: State) -> State:
    return {"log": ["greet"]}


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await is_so():  # noqa: ASYNC110  # it shows in the database, or in another task
            await asyncio.sleep(0)


async def status_of(platform: Platform, run_id: Any) -> str:
    return (await platform.runs.get(platform.caller, run_id)).status


async def ended(platform: Platform, run_id: Any) -> None:
    async def has_ended() -> bool:
        return await status_of(platform, run_id) == "success"

    await until(has_ended)


async def listens(platform: Platform) -> None:
    worker = platform._worker
    assert worker is not None

    async def is_listening() -> bool:
        return worker._dispatcher.is_listening

    await until(is_listening)


async def bells(deployment: Deployment) -> list[str]:
    async with deployment.connect() as connection:
        cursor = await connection.execute("SELECT entrypoint FROM pgqueuer.pgqueuer WHERE status = 'queued'")
        return [row["entrypoint"] for row in await cursor.fetchall()]


async def test_a_run_is_delivered_to_another_process(deployment: Deployment) -> None:
    caller = await deployment.open(chain(greet), worker=False)
    await listens(await deployment.open(chain(greet), **SELDOM))

    await ended(caller, await caller.submit("agent", {"text": ""}))

    async def is_quiet() -> bool:
        return await bells(deployment) == []

    await until(is_quiet)


async def test_runs_of_one_thread_are_delivered_one_after_the_other(deployment: Deployment) -> None:
    caller = await deployment.open(chain(greet), worker=False)
    first = await caller.submit("agent", {"text": ""})
    thread_id = (await caller.runs.get(caller.caller, first)).thread_id
    last = [await caller.submit("agent", {"text": ""}, thread_id=thread_id) for _ in range(3)][-1]

    assert await bells(deployment) == ["run/agent"]
    await listens(await deployment.open(chain(greet), **SELDOM))
    await ended(caller, last)

    assert (await caller.state(thread_id)).values["log"] == ["greet"] * 4


async def test_a_delayed_run_is_delivered_when_it_is_due(deployment: Deployment) -> None:
    caller = await deployment.open(chain(greet), worker=False)
    await listens(await deployment.open(chain(greet), **SELDOM))

    run_id = await caller.submit("agent", {"text": ""}, after_seconds=1)

    assert await status_of(caller, run_id) == "pending"
    await ended(caller, run_id)


async def test_a_bell_rings_when_its_run_is_due_not_before(deployment: Deployment) -> None:
    """Whoever heard it too early could not take the run, and nobody would hear it again."""
    caller = await deployment.open(chain(greet), worker=False)

    await caller.submit("agent", {"text": ""}, after_seconds=60)

    [bell] = await deployment.sql("SELECT execute_after FROM pgqueuer.pgqueuer")
    [run] = await deployment.sql("SELECT not_before FROM perron.runs")
    assert bell["execute_after"] == run["not_before"]


async def test_a_worker_hears_of_its_own_agents_only(deployment: Deployment) -> None:
    both = [chain(greet, name="one"), chain(greet, name="two")]
    caller = await deployment.open(*both, worker=False)
    await listens(await deployment.open(both[0], **SELDOM))

    other, own = await caller.submit("two", {"text": ""}), await caller.submit("one", {"text": ""})
    await ended(caller, own)

    assert (await status_of(caller, other), await bells(deployment)) == ("pending", ["run/two"])


async def test_a_bell_waits_for_room(deployment: Deployment) -> None:
    go = asyncio.Event()

    async def wait(state: State) -> State:
        await go.wait()
        return {}

    platform = await deployment.open(chain(wait), concurrency=1, **SELDOM)
    await listens(platform)

    first, second = [await platform.submit("agent", {"text": ""}) for _ in range(2)]
    assert (await status_of(platform, first), await status_of(platform, second)) == ("running", "pending")
    go.set()

    await ended(platform, second)


async def test_a_worker_that_drains_gives_back_the_bells_that_wait_for_room(deployment: Deployment) -> None:
    go = asyncio.Event()

    async def wait(state: State) -> State:
        await go.wait()
        return {}

    leaving = await deployment.open(chain(wait), concurrency=1, **SELDOM)
    await listens(leaving)
    await leaving.submit("agent", {"text": ""})
    waiting = await leaving.submit("agent", {"text": ""})

    async def is_heard() -> bool:
        return await bells(deployment) == []

    await until(is_heard)
    async with asyncio.TaskGroup() as group:
        group.create_task(leaving.close())
        other = await deployment.open(chain(wait), **SELDOM)
        go.set()

    await ended(other, waiting)


async def test_a_connection_that_is_lost_is_made_again(deployment: Deployment) -> None:
    caller = await deployment.open(chain(greet), worker=False)
    platform = await deployment.open(chain(greet), **SELDOM)
    await listens(platform)
    worker = platform._worker
    assert worker is not None

    async with deployment.connect() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE '%%pgqueuer%%' AND pid <> pg_backend_pid()"
        )

    async def is_deaf() -> bool:
        return not worker._dispatcher.is_listening

    await until(is_deaf)
    run_id = await caller.submit("agent", {"text": ""})
    await ended(caller, run_id)


@pytest.mark.parametrize("loss", ["TRUNCATE pgqueuer.pgqueuer", "DELETE FROM pgqueuer.pgqueuer"])
async def test_runs_whose_bells_are_lost_are_found_by_a_look(deployment: Deployment, loss: str) -> None:
    caller = await deployment.open(chain(greet), worker=False)
    run_id = await caller.submit("agent", {"text": ""})
    async with deployment.connect() as connection:
        await connection.execute(loss)

    await deployment.open(chain(greet))

    await ended(caller, run_id)
