import psycopg
import pytest
from psycopg.errors import QueryCanceled

from perron.database.url import DatabaseUrl
from perron.runtime.schema import setup_langgraph


def valid_indexes(url: str) -> dict[str, bool]:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid"
            " WHERE relnamespace = 'langgraph'::regnamespace"
        )
        return {str(name): bool(is_valid) for name, is_valid in found}


def break_index(url: str, command: str) -> None:
    """Run a concurrent index command that is cancelled while it waits for another transaction."""
    with psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as maker:
        writer.execute("LOCK TABLE langgraph.store IN ROW EXCLUSIVE MODE")
        maker.execute("SET statement_timeout = '200ms'")
        with pytest.raises(QueryCanceled):
            maker.execute(command)


async def test_an_index_whose_making_was_cancelled_is_made_again(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP INDEX langgraph.store_prefix_idx")
        connection.execute("DELETE FROM langgraph.store_migrations WHERE v >= 1")
    break_index(
        database_url,
        "CREATE INDEX CONCURRENTLY store_prefix_idx ON langgraph.store USING btree (prefix text_pattern_ops)",
    )
    assert valid_indexes(database_url)["store_prefix_idx"] is False

    await setup_langgraph(DatabaseUrl.parse(database_url).psycopg, "langgraph")

    assert all(valid_indexes(database_url).values())


async def test_what_a_cancelled_reindex_leaves_is_taken_away(database_url: str) -> None:
    before = valid_indexes(database_url)
    break_index(database_url, "REINDEX INDEX CONCURRENTLY langgraph.store_prefix_idx")
    assert valid_indexes(database_url) != before

    await setup_langgraph(DatabaseUrl.parse(database_url).psycopg, "langgraph")

    assert valid_indexes(database_url) == before
