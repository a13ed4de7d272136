"""Chores: done again and again, and whatever one of them comes to, it is tried once more."""

import asyncio

import pytest
from tests.conftest import Deployment, chain

from perron.runtime import chores
from perron.runtime.chores import Chores


async def test_a_rare_chore_goes_on_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chores, "_FIRST_S", 0.0)
    monkeypatch.setattr(chores, "_BREATH_S", 0.0)
    times, enough = 0, asyncio.Event()

    async def delete() -> bool:
        nonlocal times
        times += 1
        if times == 4:
            enough.set()
        if times == 3:
            raise ValueError("no such luck")
        return times < 4

    rare = Chores(rare={delete: 0.0})
    rare.start()
    await asyncio.wait_for(enough.wait(), 5)
    await rare.stop()


async def test_a_chore_that_takes_its_cancellation_for_an_outage_ends() -> None:
    """As a driver does whose connection breaks at that moment."""
    is_under_way = asyncio.Event()

    async def deliver() -> bool:
        try:
            is_under_way.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("refused") from None
        return False

    chores = Chores(deliver)
    chores.start()
    await is_under_way.wait()

    async with asyncio.timeout(5):
        await chores.stop()

    assert all(task.done() for task in chores._tasks)


async def test_a_platform_with_a_worker_deletes_what_is_old(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "_FIRST_S", 0.0)

    def greet(state: object) -> dict[str, str]:
        return {"text": "hello"}

    first = await deployment.open(chain(greet), worker=False, thread_ttl_minutes=1)
    thread = await first.threads.create(first.caller)
    await deployment.sql("UPDATE perron.threads SET updated_at = updated_at - interval '2 minutes'")
    await deployment.sql(
        "INSERT INTO perron.workers (worker_id, host, pid, version, lease_s, beat_at)"
        " VALUES (%s, 'h', 1, '0', 10, now() - interval '2 days')",
        thread.thread_id,
    )

    await deployment.open(chain(greet))

    async with asyncio.timeout(10):
        while await deployment.sql("SELECT 1 FROM perron.threads"):
            pass
        while await deployment.sql("SELECT 1 FROM perron.workers WHERE worker_id = %s", thread.thread_id):
            pass
