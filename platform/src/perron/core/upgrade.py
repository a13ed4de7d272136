"""Upgrade and check of a database: our tables, LangGraph's and the queue's together."""

from __future__ import annotations

from perron.configuration import PlatformSettings
from perron.database.engine import SCHEMA
from perron.database.schema import LANGGRAPH_SCHEMA, InstalledSchema, check_schema
from perron.database.upgrade import upgrade
from perron.database.url import DatabaseUrl
from perron.dispatch.queue_schema import QUEUE_SCHEMA, check_queue, setup_queue
from perron.runtime.schema import check_langgraph, setup_langgraph


def schemas_of(settings: PlatformSettings) -> dict[str, str]:
    """Return what the settings call the schemas, as the functions here take them."""
    return {
        "schema": settings.database_schema,
        "langgraph_schema": settings.langgraph_schema,
        "queue_schema": settings.queue_schema,
    }


async def upgrade_database(
    url: DatabaseUrl | str,
    *,
    schema: str = SCHEMA,
    langgraph_schema: str = LANGGRAPH_SCHEMA,
    queue_schema: str = QUEUE_SCHEMA,
) -> None:
    """Bring all tables to this release; any number of processes may do it at once.

    Args:
        url: The database itself, past a transaction pooler: the lock belongs to a session.

    Raises:
        SchemaError, DatabaseUnavailableError: As `perron.database.upgrade.upgrade`.
    """

    async def set_up(url: DatabaseUrl) -> None:
        await setup_langgraph(url.psycopg, langgraph_schema)
        await setup_queue(url, schema=schema, queue_schema=queue_schema)

    await upgrade(url, schema=schema, langgraph_schema=langgraph_schema, owners=[set_up])


async def check_database(
    url: DatabaseUrl | str,
    *,
    schema: str = SCHEMA,
    langgraph_schema: str = LANGGRAPH_SCHEMA,
    queue_schema: str = QUEUE_SCHEMA,
) -> InstalledSchema:
    """Check that this release can work on the database as it is, and return what is there.

    Raises:
        SchemaError: It cannot; the sentence names the command to run.
        DatabaseUnavailableError: The server cannot be reached.
    """
    url = DatabaseUrl.parse(url) if isinstance(url, str) else url
    installed = await check_schema(url, schema=schema, langgraph_schema=langgraph_schema)
    await check_langgraph(url.psycopg, langgraph_schema)
    await check_queue(url, schema=schema, queue_schema=queue_schema)
    return installed
