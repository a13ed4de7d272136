"""The log that runs append their events to, and those who read it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from tests.conftest import until
from tests.runtime.conftest import Rows

from perron.caller import Caller
from perron.errors import EventsGoneError, LeaseLostError
from perron.ids import RunId
from perron.runtime.claim import ClaimedRun
from perron.runtime.event_reader import EventReader
from perron.runtime.events import EventLog, EventWriter
from perron.runtime.readers import Readers, rings


@pytest.fixture
def log(rows: Rows) -> EventLog:
    return EventLog(rows.pool, Readers(), schema="perron")


async def numbers(rows: Rows, run_id: RunId) -> list[int]:
    async with rows.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT n FROM perron.run_events WHERE run_id = %s ORDER BY epoch, n", [run_id]
        )
        return [row["n"] for row in await cursor.fetchall()]


async def stands(writer: EventWriter, last_n: int) -> None:
    await until(lambda: writer.last_n >= last_n or writer.failure is not None)


async def test_the_events_of_many_runs_keep_their_order(rows: Rows, log: EventLog) -> None:
    runs = [await rows.claimed() for _ in range(4)]
    writers = [log.writer(run.run_id, run.epoch) for run in runs]

    for i in range(300):
        for writer in writers:
            writer.write("custom", i)
    for writer in writers:
        await stands(writer, 300)

    for run in runs:
        assert await numbers(rows, run.run_id) == list(range(1, 301))
    assert [await writer.close() for writer in writers] == [[], [], [], []]


async def test_what_has_not_left_is_handed_back(rows: Rows, log: EventLog) -> None:
    run = await rows.claimed()
    writer = log.writer(run.run_id, run.epoch)
    writer.write("custom", {"a": "\x00"}, namespace="sub:1")
    await stands(writer, 1)

    writer.write("custom", 2)
    writer.write("updates", {"node": None})
    rest = await writer.close()

    assert rest == [("custom", "", 2), ("updates", "", {"node": None})]
    assert writer.last_n == 1
    assert await numbers(rows, run.run_id) == [1]


async def test_a_zombie_appends_nothing_and_is_told(rows: Rows, log: EventLog) -> None:
    run = await rows.claimed()
    zombie = log.writer(run.run_id, run.epoch)
    bystander_run = await rows.claimed()
    bystander = log.writer(bystander_run.run_id, bystander_run.epoch)
    again = await rows.claimed_again(run)
    live = log.writer(again.run_id, again.epoch)

    for writer in (zombie, bystander, live):
        writer.write("custom", 1)
    await stands(zombie, 1)
    await stands(bystander, 1)
    await stands(live, 1)

    with pytest.raises(LeaseLostError):
        zombie.write("custom", 2)
    with pytest.raises(LeaseLostError):
        await zombie.close()
    live.write("custom", 2)
    await stands(live, 2)
    bystander.write("custom", 2)
    await stands(bystander, 2)
    async with rows.pool.connection() as connection:
        kept = await (
            await connection.execute("SELECT epoch, n FROM perron.run_events WHERE run_id = %s", [run.run_id])
        ).fetchall()
    assert sorted((row["epoch"], row["n"]) for row in kept) == [(2, 1), (2, 2)]


async def test_an_append_that_lost_its_connection_leaves_no_gap(rows: Rows, log: EventLog) -> None:
    run = await rows.claimed()
    writer = log.writer(run.run_id, run.epoch)
    for i in range(10):
        writer.write("custom", i)
    await stands(writer, 10)

    async with rows.database.begin() as session:
        await session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
        )
    for i in range(10):
        writer.write("custom", i)
    await stands(writer, 20)

    assert await numbers(rows, run.run_id) == list(range(1, 21))


async def test_a_reader_of_a_run_whose_events_are_gone_is_told(rows: Rows) -> None:
    run_id = await rows.make_run(status="success", epoch=1)
    reader = EventReader(rows.database, Readers(), poll_s=0.05)

    with pytest.raises(EventsGoneError, match="a minute after its end"):
        await asyncio.wait_for(anext(reader.follow(Caller.system(), run_id)), 5)


async def test_a_bell_wakes_a_reader_before_its_poll(rows: Rows) -> None:
    readers = Readers()
    log = EventLog(rows.pool, readers, schema="perron")
    run: ClaimedRun = await rows.claimed()
    writer = log.writer(run.run_id, run.epoch)
    reader = EventReader(rows.database, readers, poll_s=60)
    read: list[Any] = []

    async def follow() -> None:
        async for row in reader.follow(Caller.system(), run.run_id):
            assert row is not None
            read.append(row.payload)

    following = asyncio.create_task(follow())
    writer.write("custom", 1)
    await until(lambda: read == [1])
    writer.write("custom", 2)
    await until(lambda: read == [1, 2])
    writer.write("end", 3)
    await asyncio.wait_for(following, 5)

    assert read == [1, 2, 3]


async def test_a_cancel_is_not_lost_when_the_bell_rings_at_that_moment() -> None:
    bell = asyncio.Event()
    waiting = asyncio.create_task(rings(bell, 60))
    for _ in range(3):
        await asyncio.sleep(0)  # it waits now

    bell.set()
    waiting.cancel()
    await asyncio.wait([waiting])

    assert waiting.cancelled()


async def crash(rows: Rows) -> None:
    """Lose what a server that crashes loses: its connections, and what it has not written to the disk."""
    async with rows.database.begin() as session:
        await session.execute(text("DELETE FROM perron.run_events WHERE n > 5"))
        await session.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
        )


async def test_a_server_that_crashes_leaves_no_gap(rows: Rows, log: EventLog) -> None:
    run = await rows.claimed()
    writer = log.writer(run.run_id, run.epoch)
    for i in range(10):
        writer.write("custom", i)
    await stands(writer, 10)

    await crash(rows)
    writer.write("custom", 10)
    await stands(writer, 11)
    assert await numbers(rows, run.run_id) == list(range(1, 12))

    await crash(rows)
    async with log.connection():
        assert await numbers(rows, run.run_id) == list(range(1, 12))
