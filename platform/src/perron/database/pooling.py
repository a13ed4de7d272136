"""Is there a transaction pooler in between? It takes LISTEN and advisory locks away without a word."""

from __future__ import annotations

from uuid import uuid4

from perron.database.schema import connect
from perron.database.url import DatabaseUrl

_WAIT_S = 2.0


async def keeps_sessions(url: DatabaseUrl, *, timeout_s: float = _WAIT_S) -> bool:
    """Say whether a connection has a session of its own: it hears what another one notifies.

    Raises:
        DatabaseUnavailableError: The server cannot be reached.
    """
    channel = f"perron_{uuid4().hex}"
    async with await connect(url) as listener, await connect(url) as speaker:
        await listener.execute(f'LISTEN "{channel}"')
        await speaker.execute(f'NOTIFY "{channel}"')
        async for _ in listener.notifies(timeout=timeout_s, stop_after=1):
            return True
    return False
