import asyncio
import re
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import select, text

from perron.database.engine import Database
from perron.database.partitions import WEEKS_AHEAD, ensure_partitions
from perron.database.schema import check_schema
from perron.database.upgrade import downgrade, upgrade
from perron.database.url import DatabaseUrl
from perron.errors import InvalidInputError, SchemaError
from perron.models import Thread


def execute(url: str, statement: SQL | Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture
def role(empty_database: str) -> Iterator[str]:
    """A role that may connect, and nothing else."""
    name = f"plain_{uuid4().hex}"
    execute(empty_database, SQL("CREATE ROLE {} LOGIN").format(Identifier(name)))
    yield name
    execute(empty_database, SQL("DROP OWNED BY {} CASCADE").format(Identifier(name)))
    execute(empty_database, SQL("DROP ROLE {}").format(Identifier(name)))


def as_role(url: str, role: str) -> str:
    parsed = DatabaseUrl.parse(url)
    return DatabaseUrl(
        host=parsed.host, port=parsed.port, user=role, database=parsed.database, options=parsed.options
    ).full


async def test_a_role_that_may_not_make_schemas_is_told_which_ones_to_ask_for(
    empty_database: str, role: str
) -> None:
    with pytest.raises(SchemaError, match=rf'run `CREATE SCHEMA perron AUTHORIZATION "{role}"`'):
        await upgrade(as_role(empty_database, role))


async def test_a_role_that_may_not_make_schemas_upgrades_in_those_that_are_there(
    empty_database: str, role: str
) -> None:
    execute(empty_database, SQL("CREATE SCHEMA perron"))
    execute(empty_database, SQL("CREATE SCHEMA langgraph AUTHORIZATION {}").format(Identifier(role)))
    with pytest.raises(SchemaError, match=rf'run `GRANT CREATE, USAGE ON SCHEMA perron TO "{role}"`'):
        await upgrade(as_role(empty_database, role))

    execute(empty_database, SQL("GRANT CREATE, USAGE ON SCHEMA perron TO {}").format(Identifier(role)))
    await upgrade(as_role(empty_database, role))

    await check_schema(as_role(empty_database, role))


async def test_schemas_of_other_names(empty_database: str) -> None:
    await upgrade(empty_database, schema="user", langgraph_schema="graphs")
    await check_schema(empty_database, schema="user", langgraph_schema="graphs")

    database = Database(empty_database, schema="user")
    try:
        async with database.begin() as session:
            await ensure_partitions(session)
            await session.execute(text('SELECT "user".fence_thread(NULL, NULL) WHERE false'))
            assert (await session.execute(select(Thread))).all() == []
            schemas = await session.scalars(text("SELECT DISTINCT schemaname FROM pg_tables"))
            assert {"user"} == set(schemas) - {"pg_catalog", "information_schema"}
            partitions = await session.scalar(
                text("SELECT count(*) FROM pg_inherits WHERE inhparent = '\"user\".run_events'::regclass")
            )
            assert partitions == WEEKS_AHEAD + 2
    finally:
        await database.close()
    await downgrade(empty_database, "base", schema="user", langgraph_schema="graphs")


async def test_two_installations_share_a_database_under_two_names(empty_database: str) -> None:
    await upgrade(empty_database)
    await upgrade(empty_database, schema="second", langgraph_schema="second_graphs")
    await downgrade(empty_database, "base", schema="second", langgraph_schema="second_graphs")

    await check_schema(empty_database)


async def test_downgrades_to_what_does_not_exist_are_refused(database_url: str, empty_database: str) -> None:
    for unknown in ("nonsense", "9999", "-0", "+1", "-1x"):
        with pytest.raises(InvalidInputError, match=rf"no revision '{re.escape(unknown)}'\. .* base, 0001, 0002"):
            await downgrade(database_url, unknown)
    with pytest.raises(SchemaError, match="revision '-99'"):
        await downgrade(database_url, "-99")
    with pytest.raises(SchemaError, match="nothing to take back"):
        await downgrade(empty_database)


async def test_owners_are_set_up_one_process_at_a_time(empty_database: str) -> None:
    inside: list[str] = []

    async def set_up(url: DatabaseUrl) -> None:
        inside.append(url.shown)
        assert len(inside) == 1
        async with await psycopg.AsyncConnection.connect(url.psycopg, autocommit=True) as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS langgraph.owned (v int)")
        inside.pop()

    await asyncio.gather(*(upgrade(empty_database, owners=[set_up]) for _ in range(4)))


async def test_an_upgrade_that_another_process_never_ends_is_given_up(empty_database: str) -> None:
    held, release = asyncio.Event(), asyncio.Event()

    async def hold(_url: DatabaseUrl) -> None:
        held.set()
        await release.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(upgrade(empty_database, owners=[hold]))
        await held.wait()
        with pytest.raises(SchemaError, match=r"Another process has been upgrading the database for 0\.2 s"):
            await upgrade(empty_database, timeout_s=0.2)
        release.set()


async def test_a_table_in_use_fails_the_downgrade_and_changes_nothing(database_url: str) -> None:
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT FROM perron.setting_history")
        with pytest.raises(SchemaError, match=r"waited in vain for a table in use"):
            await downgrade(database_url, "base")

    await check_schema(database_url)
