"""Upgrade and check of a database: our tables and LangGraph's together."""

from __future__ import annotations

from perron.database.engine import SCHEMA
from perron.database.schema import LANGGRAPH_SCHEMA, check_schema
from perron.database.upgrade import upgrade
from perron.database.url import DatabaseUrl
from perron.runtime.schema import check_langgraph, setup_langgraph


async def upgrade_database(
    url: DatabaseUrl | str, *, schema: str = SCHEMA, langgraph_schema: str = LANGGRAPH_SCHEMA
) -> None:
    """Bring all tables to this release; any number of processes may do it at once.

    Args:
        url: The database itself, past a transaction pooler: the lock belongs to a session.

    Raises:
        SchemaError, DatabaseUnavailableError: As `perron.database.upgrade.upgrade`.
    """

    async def set_up(conninfo: str) -> None:
        await setup_langgraph(conninfo, langgraph_schema)

    await upgrade(url, schema=schema, langgraph_schema=langgraph_schema, owners=[set_up])


async def check_database(
    url: DatabaseUrl | str, *, schema: str = SCHEMA, langgraph_schema: str = LANGGRAPH_SCHEMA
) -> None:
    """Check that this release can work on the database as it is.

    Raises:
        SchemaError: It cannot; the sentence names the command to run.
        DatabaseUnavailableError: The server cannot be reached.
    """
    url = DatabaseUrl.parse(url) if isinstance(url, str) else url
    await check_schema(url, schema=schema, langgraph_schema=langgraph_schema)
    await check_langgraph(url.psycopg, langgraph_schema)
