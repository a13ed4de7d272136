"""A connection of its own for LISTEN, made again whenever it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import structlog

from perron import clock
from perron.database.engine import connect_asyncpg
from perron.database.outage import was_cancelled
from perron.database.url import DatabaseUrl

log = structlog.get_logger(__name__)

Use = Callable[["asyncpg.Connection[Any]"], Awaitable[None]]
"""Uses a connection and returns when it is of no use any more."""

_SHORTEST_S, _LONGEST_S = 0.2, 5.0


async def keep_connected(url: DatabaseUrl, use: Use, *, application_name: str, what: str) -> None:
    """Connect and hand the connection to `use`, again and again until cancelled, with growing pauses after losses.

    Args:
        url: Leads past a transaction pooler, which would take LISTEN away without a word.
        what: What a log line calls it.
    """
    pause_s = _SHORTEST_S
    while True:
        began_at = clock.boot_s()
        try:
            connection = await connect_asyncpg(url, application_name=application_name)
            try:
                await use(connection)
            finally:
                await _close(connection)
        except Exception as exc:  # noqa: BLE001  # whatever it was, the next one may work
            if was_cancelled():
                return
            log.warning("connection_lost", what=what, reason=str(exc) or type(exc).__name__)
        if clock.boot_s() - began_at > _LONGEST_S:
            pause_s = _SHORTEST_S
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_S)


async def _close(connection: asyncpg.Connection[Any]) -> None:
    try:
        await connection.close(timeout=2)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
