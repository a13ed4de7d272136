"""PgQueuer's tables, in a schema of their own, and the functions by which our transactions hang bells in them."""

from __future__ import annotations

from typing import Any

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import Channel
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from typing_extensions import override

from perron.database.engine import connect_asyncpg
from perron.database.schema import connect, ensure_schema
from perron.database.url import DatabaseUrl
from perron.errors import SchemaError

QUEUE_SCHEMA = "pgqueuer"
BELL = "run/"
"""Prefix of the entrypoints: one for each agent, so that a worker hears of runs that it can execute."""


class QueueNames(DBSettings):
    """What PgQueuer's objects are called: here, and not in the environment of some process."""

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given, and nothing else."""
        return (init_settings,)


def queries_on(connection: asyncpg.Connection[Any], queue_schema: str) -> Queries:
    """Return PgQueuer's statements on a connection, for the tables in this schema."""
    names = QueueNames(db_schema=queue_schema, channel=Channel(f"perron_{queue_schema}"))
    return Queries(
        AsyncpgDriver(connection),
        qbe=QueryBuilderEnvironment(names),
        qbq=QueryQueueBuilder(names),
        qbs=QuerySchedulerBuilder(names),
    )


async def setup_queue(url: DatabaseUrl, *, schema: str, queue_schema: str) -> None:
    """Make PgQueuer's tables, or bring them up to date, and the functions `hang` and `ring` in our schema.

    One process at a time: the upgrade's lock sees to that.
    """
    async with await connect(url) as connection:
        await ensure_schema(connection, queue_schema)
    listener = await connect_asyncpg(url)
    try:
        queries = queries_on(listener, queue_schema)
        if await queries.schema_is_installed():
            await queries.upgrade()
        else:
            await queries.install(create_schema=False)
        await listener.execute(_functions(schema, queries))
    finally:
        await listener.close()


async def check_queue(url: DatabaseUrl, *, schema: str, queue_schema: str) -> None:
    """Check that the tables are those of the installed PgQueuer.

    Raises:
        SchemaError: They are missing or older.
    """
    connection = await connect_asyncpg(url)
    try:
        is_set_up = await connection.fetchval(
            "SELECT to_regprocedure(format('%I.hang(int, text, uuid, uuid, timestamptz)', $1::text)) IS NOT NULL",
            schema,
        )
        if is_set_up and not (await queries_on(connection, queue_schema).plan_upgrade()).statements:
            return
    finally:
        await connection.close()
    raise SchemaError(
        f"The queue's tables in the schema {queue_schema!r} are missing or older than the installed PgQueuer: "
        "run `perron db upgrade`."
    )


def _functions(schema: str, queries: Queries) -> str:
    # PgQueuer's own statement as a function, since the end of a run rings in SQL. A bell that hangs already is not
    # hung a second time. It counts from the start of the transaction: with an interval from any later moment the
    # bell would ring before its run is due, and be gone.
    return f"""
        CREATE OR REPLACE FUNCTION "{schema}".enqueue(int[], text[], bytea[], interval[], text[], jsonb[])
        RETURNS TABLE (ord bigint, id bigint) LANGUAGE sql AS $$
            {queries.qbq.build_enqueue_query("skip")}
        $$;
        CREATE OR REPLACE FUNCTION "{schema}".hang(
            priority int, graph_id text, run_id uuid, thread_id uuid, not_before timestamptz
        ) RETURNS void LANGUAGE sql AS $$
            SELECT "{schema}".enqueue(
                ARRAY[priority], ARRAY['{BELL}' || graph_id], ARRAY[uuid_send(run_id) || uuid_send(thread_id)],
                ARRAY[greatest(not_before - now(), interval '0')], ARRAY[run_id::text],
                ARRAY['{{}}'::jsonb]
            )
        $$;
        CREATE OR REPLACE FUNCTION "{schema}".ring(thread_id uuid) RETURNS void LANGUAGE plpgsql AS $$
        DECLARE
            head "{schema}".runs;
        BEGIN
            SELECT * INTO head FROM "{schema}".runs r
            WHERE r.thread_id = $1 AND r.status IN ('pending', 'running') ORDER BY r.seq LIMIT 1;
            IF head.status = 'pending' THEN
                PERFORM "{schema}".hang(
                    head.priority, head.graph_id, head.run_id, head.thread_id, head.not_before
                );
            END IF;
        END $$;
    """  # noqa: S608  # checked identifiers
