import psycopg
import pytest

from perron.database.schema import check_schema
from perron.database.upgrade import downgrade, upgrade
from perron.errors import DatabaseUnavailableError, SchemaError
from perron_migrations.history import revisions


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


async def test_a_database_of_this_release_fits(database_url: str) -> None:
    await check_schema(database_url)


async def test_an_empty_database_is_refused_with_the_command(empty_database: str) -> None:
    with pytest.raises(SchemaError, match="no schema 'perron' of Perron yet: run `perron db upgrade`"):
        await check_schema(empty_database)


async def test_an_older_schema_is_refused_with_the_command(database_url: str) -> None:
    await downgrade(database_url)

    with pytest.raises(SchemaError, match=rf"older .*{revisions()[-2]}.*: run `perron db upgrade`"):
        await check_schema(database_url)


async def test_a_schema_taken_back_to_nothing_counts_as_missing(database_url: str) -> None:
    await downgrade(database_url, "base")

    with pytest.raises(SchemaError, match="run `perron db upgrade`"):
        await check_schema(database_url)


async def test_an_unknown_revision_is_newer_and_accepted(database_url: str) -> None:
    execute(database_url, "UPDATE perron.alembic_version SET version_num = '9999'")

    await check_schema(database_url)
    await upgrade(database_url)


async def test_a_newer_schema_that_needs_a_newer_release_is_refused(database_url: str) -> None:
    execute(database_url, "UPDATE perron.alembic_version SET version_num = '9999'")
    execute(database_url, "UPDATE perron.schema_info SET oldest_release = '99.10.0'")

    for refused in (check_schema, upgrade):
        with pytest.raises(SchemaError, match=r"needs 99\.10\.0 or later"):
            await refused(database_url)


async def test_another_name_for_langgraphs_schema_is_refused_afterwards(database_url: str) -> None:
    for refused in (check_schema, upgrade):
        with pytest.raises(SchemaError, match="PERRON_LANGGRAPH_SCHEMA=langgraph"):
            await refused(database_url, langgraph_schema="other")


async def test_a_server_that_is_not_there_is_said_in_a_sentence() -> None:
    with pytest.raises(
        DatabaseUnavailableError, match=r"database at postgresql://127\.0\.0\.1:1/x cannot be used"
    ):
        await check_schema("postgresql://127.0.0.1:1/x")
