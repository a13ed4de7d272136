"""What all repositories share, tried on threads."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from perron.caller import Caller
from perron.database.engine import Database
from perron.ids import new_id
from perron.models.thread import Thread
from perron.repositories.thread import ThreadRepository

ANN, BEN = Caller(principal="ann", tenant="t"), Caller(principal="ben", tenant="t")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, answer_timeout_s=0.5)
    yield database
    await database.close()


async def add_threads(database: Database, caller: Caller, count: int) -> None:
    async with database.begin() as session:
        for _ in range(count):
            await ThreadRepository(session, caller).create(Thread(thread_id=new_id(), metadata_={}, interrupts={}))


async def test_a_stream_brings_each_row_of_its_caller_and_holds_none(database: Database) -> None:
    await add_threads(database, ANN, 7)
    await add_threads(database, BEN, 2)

    seen = []
    async with database.begin() as session:
        async for thread in ThreadRepository(session, ANN).stream(batch=3):
            seen.append(thread.thread_id)
            assert len(session.identity_map) <= 3

    assert len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)


async def test_a_stream_may_take_longer_than_other_transactions(database: Database) -> None:
    await add_threads(database, ANN, 2)

    async with database.begin() as session:
        rows = ThreadRepository(session, ANN).stream(batch=1)
        first = await anext(rows)
        await asyncio.sleep(0.7)  # a reader that takes its time
        second = await anext(rows)

    assert first.thread_id != second.thread_id


async def test_only_who_may_see_a_row_deletes_it(database: Database) -> None:
    await add_threads(database, ANN, 1)

    async with database.begin() as session:
        (thread,) = await ThreadRepository(session, ANN).get_all()
        assert not await ThreadRepository(session, BEN).delete(thread.thread_id)
        assert not await ThreadRepository(session, Caller(principal="ann", tenant="u")).delete(thread.thread_id)
        assert await ThreadRepository(session, ANN).delete(thread.thread_id)
