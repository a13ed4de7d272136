"""Alembic's entry: opens the database, or takes the connection that it is handed, and runs the revisions.

`perron db upgrade` hands over a connection and the names of the schemas. From a checkout (`uv run alembic …`)
both are found here: the URL in Alembic's `sqlalchemy.url`, else in Perron's settings, else the embedded server.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from alembic import context
from alembic.util import CommandError
from sqlalchemy import URL, Connection, NullPool, create_engine, inspect
from sqlalchemy.schema import CreateSchema

if TYPE_CHECKING:
    from alembic.runtime.environment import NameFilterParentNames, NameFilterType

SCHEMA = "perron"  # what models and revisions name; a database may call it otherwise
UNMODELLED = ("run_events_", "schema_info")  # partitions come and go; no release writes `schema_info`


def migrate(connection: Connection, *, schema: str, langgraph_schema: str) -> None:
    """Run what Alembic was called for.

    Args:
        connection: One without a transaction.
        schema: What this database calls the schema `perron`; made when it is absent.
        langgraph_schema: Where LangGraph's checkpoints are; our functions name it.
    """
    from perron.models import Base

    if not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema, if_not_exists=True))
    connection.commit()
    context.configure(
        connection=connection.execution_options(schema_translate_map={SCHEMA: schema}),
        target_metadata=Base.metadata,
        version_table_schema=schema,
        include_schemas=True,
        include_name=_is_ours,
        compare_type=True,
        compare_server_default=True,
        schema=schema,  # this and the next: for the revisions' own SQL
        langgraph_schema=langgraph_schema,
    )
    with context.begin_transaction():
        context.run_migrations()


def _is_ours(name: str | None, kind: NameFilterType, _parents: NameFilterParentNames) -> bool:
    # Autogenerate would drop what it sees and no model has: other owners' schemas, partitions.
    if kind == "schema":
        return name == SCHEMA
    return kind != "table" or name is None or not name.startswith(UNMODELLED)


def migrate_from_checkout() -> None:
    """Find the database as `perron` finds it, and migrate it.

    Raises:
        CommandError: The settings call our schema otherwise: autogenerate compares with the models' name.
    """
    from perron.configuration import load_settings
    from perron.database.embedded import EmbeddedServer
    from perron.database.url import DatabaseUrl

    logging.basicConfig(format="%(message)s")
    logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
    settings = load_settings()
    if settings.database_schema != SCHEMA:
        raise CommandError(f"Alembic works on the schema {SCHEMA!r} alone: use `perron db` for another.")

    def run(url: str) -> None:
        _connect_and_migrate(DatabaseUrl.parse(url).sqlalchemy_psycopg, langgraph_schema=settings.langgraph_schema)

    named = context.config.get_alembic_option("sqlalchemy.url")
    configured = settings.database_direct_url or settings.database_url
    if named:
        run(named)
    elif configured is not None:
        run(configured.get_secret_value())
    else:
        server = EmbeddedServer(settings.home)
        try:
            run(server.acquire())
        finally:
            server.release()


def _connect_and_migrate(url: URL, *, langgraph_schema: str) -> None:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        migrate(connection, schema=SCHEMA, langgraph_schema=langgraph_schema)


if context.is_offline_mode():
    raise CommandError("Perron's migrations look at the database, so `--sql` cannot print them.")
if "connection" in context.config.attributes:
    migrate(**context.config.attributes)
else:
    migrate_from_checkout()
