"""The connection budget: do all pools of a process fit into what the server gives?"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text

from perron.database.engine import Database

# A limit of -1 means none. The server keeps some of its slots for superusers and for pg_use_reserved_connections.
_AVAILABLE = text("""
    SELECT min(slots) FROM (
        SELECT current_setting('max_connections')::int
             - current_setting('superuser_reserved_connections')::int
             - current_setting('reserved_connections')::int AS slots
        UNION ALL SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0
        UNION ALL SELECT datconnlimit FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0
    ) AS limits
""")


async def connection_shortage(database: Database, pools: Mapping[str, int]) -> str | None:
    """Return a sentence when the pools (name → most connections) do not fit the server, else None."""
    needed = sum(pools.values())
    async with database.begin() as session:
        available = int(await session.scalar(_AVAILABLE) or 0)
    if needed <= available:
        return None
    parts = ", ".join(f"{name} {size}" for name, size in pools.items())
    return (
        f"This process may open {needed} connections ({parts}), but the server gives at most {available}: "
        "raise its max_connections, or lower the settings pool_size, max_overflow and checkpoint_pool_size."
    )
