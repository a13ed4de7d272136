"""A connection that is made again whenever it is lost, until nobody wants it any more."""

from __future__ import annotations

import asyncio

import asyncpg

from perron.database.listening import keep_connected
from perron.database.url import DatabaseUrl


async def test_a_use_that_takes_its_cancellation_for_a_loss_ends(database_url: str) -> None:
    """As a driver does whose connection breaks at that moment."""
    is_used = asyncio.Event()

    async def use(_connection: asyncpg.Connection[object]) -> None:
        try:
            is_used.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("reset") from None

    keeping = asyncio.create_task(
        keep_connected(DatabaseUrl.parse(database_url), use, application_name="perron test", what="a test")
    )
    await is_used.wait()
    keeping.cancel()

    async with asyncio.timeout(5):
        await asyncio.wait([keeping])
