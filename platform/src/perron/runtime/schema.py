"""LangGraph's own tables: those of its checkpoint saver and of its store."""

from __future__ import annotations

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.store.postgres.aio import AsyncPostgresStore
from psycopg import AsyncConnection, sql
from psycopg.errors import UndefinedTable
from psycopg.rows import DictRow, dict_row

from perron.errors import SchemaError


async def setup_langgraph(conninfo: str, schema: str) -> None:
    """Make LangGraph's tables in an existing schema, or bring them up to date, and mend its broken indexes.

    One process at a time: the upgrade's lock sees to that.
    """
    async with await _connect(conninfo, schema) as connection:
        await AsyncPostgresSaver(connection).setup()
        await AsyncPostgresStore(connection).setup()
        await _mend_indexes(connection, schema)


async def check_langgraph(conninfo: str, schema: str) -> None:
    """Check that the tables are those of the installed LangGraph, or newer.

    Raises:
        SchemaError: They are missing or older.
    """
    needed = (len(AsyncPostgresSaver.MIGRATIONS) - 1, len(AsyncPostgresStore.MIGRATIONS) - 1)
    query = sql.SQL(
        "SELECT (SELECT max(v) FROM {0}.checkpoint_migrations), (SELECT max(v) FROM {0}.store_migrations)"
    )
    async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
        try:
            found = await (await connection.execute(query.format(sql.Identifier(schema)))).fetchone()
        except UndefinedTable:
            found = None
    if found is None or any(v is None or v < least for v, least in zip(found, needed, strict=True)):
        raise SchemaError(
            f"LangGraph's tables in the schema {schema!r} are missing or older than the installed LangGraph: "
            "run `perron db upgrade`."
        )


async def _connect(conninfo: str, schema: str) -> AsyncConnection[DictRow]:
    connection = await AsyncConnection.connect(conninfo, autocommit=True, row_factory=dict_row)
    # `public` too: pgvector lives there, and `schema` alone would hide its type.
    await connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema)))
    return connection


async def _mend_indexes(connection: AsyncConnection[DictRow], schema: str) -> None:
    # CREATE INDEX CONCURRENTLY that was killed leaves an index that is written and never used, and LangGraph's
    # next IF NOT EXISTS takes it for done. What a killed REINDEX leaves (`…_ccnew`) is a copy: it goes.
    broken = await connection.execute(
        """
        SELECT c.relname AS name FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND NOT i.indisvalid
        """,
        [schema],
    )
    for row in await broken.fetchall():
        is_copy = "_ccnew" in row["name"] or "_ccold" in row["name"]
        command = "DROP INDEX CONCURRENTLY {}" if is_copy else "REINDEX INDEX CONCURRENTLY {}"
        await connection.execute(sql.SQL(command).format(sql.Identifier(schema, row["name"])))
