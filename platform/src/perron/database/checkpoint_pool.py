"""The pool of psycopg connections that LangGraph's saver and store work on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from typing_extensions import override

from perron.database.engine import ANSWER_S
from perron.database.outage import unavailable
from perron.database.silence import cut, has_word
from perron.database.url import DatabaseUrl

_BACKOFF_S = 3.0
"""After this long without a connection the pool begins anew: its pauses would become minutes."""


class CheckpointPool(AsyncConnectionPool[AsyncConnection[DictRow]]):
    """A pool that knows dead connections when it sees them.

    The server has closed them, as in a restart; or the database says nothing any more, since a network that
    swallows packets never fails by itself: saver and store would wait for ever.
    """

    def __init__(self, url: str, *, answer_timeout_s: float, **options: Any) -> None:
        """Prepare; `answer_timeout_s` is how long anybody may need one connection."""
        super().__init__(
            url,
            open=False,
            timeout=answer_timeout_s,
            reconnect_timeout=_BACKOFF_S,
            reconnect_failed=_begin_anew,
            **options,
        )
        self._answer_timeout_s = answer_timeout_s

    @override
    async def getconn(self, timeout: float | None = None) -> AsyncConnection[DictRow]:
        """Borrow a connection that the server has not closed.

        Not by the pool's own `check`: it pauses after each dead one, twice as long each time, and after a restart
        all of them are dead.
        """
        while True:
            connection = await super().getconn(timeout)
            if not has_word(connection.fileno()):
                return connection
            await connection.close()
            await self.putconn(connection)

    @override
    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[AsyncConnection[DictRow]]:
        async with super().connection(timeout) as connection:
            # By its socket: a cancelled statement would first wait for the server to confirm the cancel.
            loop = asyncio.get_running_loop()
            watchdog = loop.call_later(self._answer_timeout_s, cut, connection.fileno())
            try:
                yield connection
            finally:
                watchdog.cancel()


async def open_checkpoint_pool(
    url: DatabaseUrl | str,
    *,
    schema: str = "langgraph",
    min_size: int = 1,
    max_size: int = 8,
    connect_timeout_s: float = 10.0,
    answer_timeout_s: float = ANSWER_S,
    application_name: str = "perron",
) -> CheckpointPool:
    """Open a pool as `AsyncPostgresSaver` and `AsyncPostgresStore` need it; the caller closes it.

    Args:
        answer_timeout_s: How long anybody may need one connection; PostgreSQL itself ends a transaction then.

    Raises:
        DatabaseUnavailableError: No connection came about within `connect_timeout_s`.
    """
    url = DatabaseUrl.parse(url) if isinstance(url, str) else url
    # `public` too: pgvector lives there, and `schema` alone would hide its type.
    options = [
        dict(url.options).get("options", ""),
        f"-csearch_path={schema},public",
        f"-ctransaction_timeout={round(answer_timeout_s * 1000)}",
    ]
    arguments: dict[str, Any] = {
        "autocommit": True,
        "row_factory": dict_row,
        "prepare_threshold": 0,
        "application_name": application_name,
        "connect_timeout": max(2, round(connect_timeout_s)),  # libpq takes less than 2 s for 2 s
        "options": " ".join(filter(None, options)),
    }
    pool = CheckpointPool(
        url.psycopg,
        answer_timeout_s=answer_timeout_s,
        kwargs=arguments,
        min_size=min_size,
        max_size=max_size,
    )
    try:
        # Once by hand: the pool itself tries again in the background and only ever says "timeout".
        await (await AsyncConnection.connect(url.psycopg, **arguments)).close()
        await pool.open(wait=True, timeout=connect_timeout_s)
    except (OperationalError, PoolTimeout) as exc:
        await pool.close()
        raise unavailable(url, exc, timeout_s=connect_timeout_s) from exc
    return pool


async def _begin_anew(pool: AsyncConnectionPool[Any]) -> None:
    await pool.check()  # makes a connection where somebody waits for one
