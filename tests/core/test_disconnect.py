"""Readers whose disconnect cancels their run, and readers who just leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.conftest import Deployment, State, chain

from perron import clock
from perron.core.event import Event
from perron.errors import InvalidInputError
from perron.ids import new_id
from perron.runtime.readers import Presence
from perron.services.run_reader import RunReaderService


async def hold(state: State) -> State:
    await asyncio.Event().wait()
    return {}


async def be_quick(state: State) -> State:
    return {"log": ["done"]}


async def begun(events: AsyncGenerator[Event, None]) -> UUID:
    return UUID((await anext(events)).data["run_id"])


async def is_read(deployment: Deployment) -> bool:
    return bool(await deployment.sql("SELECT 1 FROM perron.run_readers"))


async def test_leaving_cancels_the_run_only_where_it_was_asked_for(deployment: Deployment) -> None:
    platform = await deployment.open(chain(hold))
    thread_id = uuid4()
    new: dict[str, Any] = {"thread_id": thread_id, "if_not_exists": "create"}

    streaming = platform.stream("agent", {"text": ""}, on_disconnect="cancel", **new)
    streamed = await begun(streaming)
    await streaming.aclose()
    assert (await platform.join(streamed)).status == "interrupted"

    waiting = asyncio.create_task(platform.run("agent", {"text": ""}, on_disconnect="cancel", **new))
    while not (running := await platform.runs.search(platform.caller, status="running")):
        pass  # asked of the database, it lets the loop run
    waiting.cancel()
    assert (await platform.join(running[0].run_id)).status == "interrupted"

    run_id = await platform.submit("agent", {"text": ""})
    indifferent = platform.follow(run_id)
    await begun(indifferent)
    await indifferent.aclose()
    assert (await platform.runs.get(platform.caller, run_id)).status == "running"
    following = platform.follow(run_id, cancel_on_disconnect=True)
    await begun(following)
    await following.aclose()
    assert (await platform.join(run_id)).status == "interrupted"

    assert not await is_read(deployment)
    with pytest.raises(InvalidInputError, match="on_disconnect takes cancel or continue, not 'stay'"):
        await platform.run("agent", {"text": ""}, on_disconnect="stay")  # type: ignore[arg-type]  # a typing mistake


async def test_a_run_that_ends_is_not_cancelled_by_its_reader(deployment: Deployment) -> None:
    platform = await deployment.open(chain(be_quick))

    run = await platform.run("agent", {"text": ""}, on_disconnect="cancel")
    events = [event async for event in platform.stream("agent", {"text": ""}, on_disconnect="cancel")]

    assert run.status == "success"
    assert events[-1].data["status"] == "success"
    assert not await is_read(deployment)


async def test_a_process_is_missed_when_its_lock_is_gone_for_a_while(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = await deployment.open(chain(hold))
    living = platform.stream("agent", {"text": ""}, on_disconnect="cancel")
    read = await begun(living)
    deserted = await platform.submit("agent", {"text": ""})
    await platform.run_readers.enter(deserted, Presence(new_id(), process_key=7))
    ended = new_id()
    await platform.run_readers.enter(ended, Presence(new_id(), process_key=7))
    looking = RunReaderService(platform._opened.shared.database, platform.runs)
    await look_at_a_server_that_is_up_for_long(deployment)

    await looking.cancel_deserted()
    assert (await platform.runs.get(platform.caller, deserted)).cancel_action is None
    now = clock.boot_s()
    monkeypatch.setattr(clock, "boot_s", lambda: now + 15)  # the longest pause, and a connect that takes its time
    await looking.cancel_deserted()
    assert (await platform.runs.get(platform.caller, deserted)).cancel_action is None
    monkeypatch.setattr(clock, "boot_s", lambda: now + 60)
    await looking.cancel_deserted()
    monkeypatch.undo()

    assert (await platform.join(deserted)).status == "interrupted"
    rows = await deployment.sql("SELECT run_id FROM perron.run_readers")
    assert [row["run_id"] for row in rows] == [read]
    assert (await platform.runs.get(platform.caller, read)).status == "running"
    await living.aclose()
    await platform.join(read)


async def look_at_a_server_that_is_up_for_long(deployment: Deployment) -> None:
    """Wait out the time in which nobody is missed, where a test is the first on its server."""
    await deployment.sql("SELECT pg_sleep_until(pg_postmaster_start_time() + interval '10 seconds')")


async def test_a_reader_comes_back_when_its_connection_was_lost(deployment: Deployment) -> None:
    platform = await deployment.open(chain(hold), worker=False)
    readers = platform._opened.shared.readers
    locks = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
    present = await readers.presence(timeout_s=5)
    [before] = await deployment.sql(locks)

    await deployment.sql("SELECT pg_terminate_backend(%s, 5000)", before["pid"])
    while not (after := await deployment.sql(locks)):
        pass

    assert after[0]["pid"] != before["pid"]
    assert (await readers.presence(timeout_s=5)).process_key == present.process_key
