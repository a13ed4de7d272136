"""The pool for LangGraph's tables: what it does with dead connections."""

import asyncio
from contextlib import AsyncExitStack

import psycopg
from psycopg.rows import DictRow
from tests.proxy import Proxy

from perron.database.checkpoint_pool import CheckpointPool, open_checkpoint_pool


async def fill(pool: CheckpointPool, connections: int) -> None:
    """Make the pool open this many connections; they are idle afterwards."""
    async with AsyncExitStack() as stack:
        for _ in range(connections):
            await stack.enter_async_context(pool.connection())


async def borrow(pool: CheckpointPool, *, timeout_s: float = 20) -> DictRow | None:
    async with pool.connection(timeout_s) as connection:
        cursor = await connection.execute("SELECT 1 AS one")
        return await cursor.fetchone()


def end_all_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_connections_that_the_server_has_closed_are_passed_over_at_once(database_url: str) -> None:
    pool = await open_checkpoint_pool(database_url, max_size=6)
    await fill(pool, 6)
    end_all_connections(database_url)

    # Six pauses of the pool's own check would take half a minute.
    assert await borrow(pool, timeout_s=5) == {"one": 1}
    await pool.close()


async def test_a_pool_that_gave_up_on_its_connections_begins_anew(proxy: Proxy) -> None:
    pool = await open_checkpoint_pool(proxy.url, max_size=1)
    pool.reconnect_timeout = 0.1
    gave_up = asyncio.Event()
    check = pool.check

    async def give_up_and_check() -> None:
        gave_up.set()
        await check()

    pool.check = give_up_and_check  # type: ignore[method-assign]  # listened to, not replaced
    await proxy.close()
    waiting = asyncio.create_task(borrow(pool))
    await asyncio.wait_for(gave_up.wait(), 20)
    await proxy.open()

    assert await waiting == {"one": 1}
    await pool.close()
