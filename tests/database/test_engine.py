import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, Table, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.proxy import Proxy

from perron.database import engine
from perron.database.budget import connection_shortage
from perron.database.checkpoint_pool import open_checkpoint_pool
from perron.database.engine import Database
from perron.database.outage import is_outage
from perron.database.url import DatabaseUrl
from perron.errors import DatabaseUnavailableError


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    database = Database(empty_database)
    async with database.begin() as session:
        await session.execute(text("CREATE TABLE notes (id int PRIMARY KEY, body jsonb)"))
    yield database
    await database.close()


async def bodies(database: Database) -> list[Any]:
    async with database.begin() as session:
        return list(await session.scalars(text("SELECT body FROM notes ORDER BY id")))


async def test_a_transaction_commits_at_its_end(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("INSERT INTO notes VALUES (1, '[1]')"))

    assert await bodies(database) == [[1]]


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    async def fail(session: AsyncSession) -> None:
        await session.execute(text("INSERT INTO notes VALUES (1, '[1]')"))
        raise KeyError

    with pytest.raises(KeyError):
        await database.run(fail)

    assert await bodies(database) == []


async def test_hostile_values_go_through_a_jsonb_column(database: Database) -> None:
    notes = Table(
        "notes", MetaData(), Column("id", Integer), Column("body", JSON().with_variant(JSONB(), "postgresql"))
    )

    async with database.begin() as session:
        await session.execute(insert(notes), {"id": 1, "body": {"a\x00": ["\ud800", float("nan"), 2**70]}})
        stored = await session.scalar(select(notes.c.body))

    assert stored == {"a\ufffd": ["\ufffd", None, str(2**70)]}


async def test_the_victim_of_a_deadlock_is_run_once_more(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(text("INSERT INTO notes VALUES (1, '0'), (2, '0')"))
    both_hold_one = asyncio.Barrier(2)
    tries = 0

    def crosswise(first: int, second: int) -> Any:
        async def work(session: AsyncSession) -> None:
            nonlocal tries
            tries += 1
            await session.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
            raise_to = text("UPDATE notes SET body = to_jsonb(body::int + 1) WHERE id = :id")
            await session.execute(raise_to, {"id": first})
            if tries <= 2:
                await both_hold_one.wait()
            await session.execute(raise_to, {"id": second})

        return work

    await asyncio.gather(database.run(crosswise(1, 2)), database.run(crosswise(2, 1)))

    assert tries == 3
    assert await bodies(database) == [2, 2]


async def test_only_a_deadlock_is_tried_again(database: Database) -> None:
    tries = 0

    async def work(session: AsyncSession) -> None:
        nonlocal tries
        tries += 1
        await session.execute(text("SELECT 1/0"))

    with pytest.raises(DBAPIError, match="division by zero"):
        await database.run(work)

    assert tries == 1


async def test_models_of_our_schema_are_found_under_another_name(empty_database: str) -> None:
    database = Database(empty_database, schema="elsewhere")
    things = Table("things", MetaData(schema="perron"), Column("id", Integer))

    async with database.begin() as session:
        await session.execute(text("CREATE SCHEMA elsewhere"))
        await session.execute(text("CREATE TABLE elsewhere.things (id int)"))
        await session.execute(insert(things), {"id": 7})
        assert await session.scalar(text("SELECT id FROM elsewhere.things")) == 7
    await database.close()


async def test_connections_carry_name_and_time_limit(empty_database: str) -> None:
    database = Database(empty_database, application_name="worker-7", answer_timeout_s=5)

    async with database.begin() as session:
        assert await session.scalar(text("SHOW application_name")) == "worker-7"
        assert await session.scalar(text("SHOW transaction_timeout")) == "5s"
    await database.close()


async def test_check_returns_the_version(database: Database) -> None:
    assert int((await database.check()).split(".")[0]) >= 17


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def unavailable(url: str) -> str:
    """The sentence that both drivers' doors give; the reason may be worded by libpq in the second."""
    database = Database(url, connect_timeout_s=1)
    with pytest.raises(DatabaseUnavailableError) as caught:
        await database.check()
    with pytest.raises(DatabaseUnavailableError, match="cannot be used") as by_pool:
        await open_checkpoint_pool(url, connect_timeout_s=1)
    await database.close()
    for message in (str(caught.value), str(by_pool.value)):
        assert "\n" not in message
        assert "canary" not in message
    return str(caught.value)


async def test_a_refused_connection_is_one_sentence() -> None:
    url = f"postgresql://u:canary@127.0.0.1:{unused_port()}/d"

    assert "nothing listens there" in await unavailable(url)


async def test_an_unknown_host_is_one_sentence() -> None:
    assert "the host is unknown" in await unavailable("postgresql://u:canary@nowhere.invalid/d")


async def test_a_missing_socket_is_one_sentence() -> None:
    assert "does not exist" in await unavailable("postgresql://u:canary@/d?host=/nowhere")


async def test_a_missing_database_is_one_sentence(postgres_url: str) -> None:
    url = DatabaseUrl.parse(postgres_url).on("missing").full

    assert "the database does not exist" in await unavailable(url)


async def test_an_unknown_user_is_one_sentence(postgres_url: str) -> None:
    url = postgres_url.replace("://postgres@", "://nobody_here:canary@")

    assert "the user does not exist" in await unavailable(url)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:canary@127.0.0.1:{silent.getsockname()[1]}/d"
        database = Database(url, connect_timeout_s=0.2)

        with pytest.raises(DatabaseUnavailableError, match=r"it gave no answer within 0\.2 s"):
            await database.check()


async def test_a_connection_lost_on_the_way_is_an_outage_and_the_next_one_works(database: Database) -> None:
    async def lose_connection(session: AsyncSession) -> None:
        pid = await session.scalar(text("SELECT pg_backend_pid()"))
        async with database.begin() as other:
            await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        await session.execute(text("SELECT pg_sleep(5)"))

    with pytest.raises(DatabaseUnavailableError, match="cannot be used"):
        await database.run(lose_connection)

    assert await bodies(database) == []


async def test_a_connection_that_was_closed_while_idle_is_replaced(database: Database) -> None:
    async with database.begin() as first, database.begin() as second:
        pids = [await session.scalar(text("SELECT pg_backend_pid()")) for session in (first, second)]
    async with await psycopg.AsyncConnection.connect(database.url.psycopg, autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(unnest(%s::int[]), 5000)", (pids,))

    for _ in pids:
        assert await bodies(database) == []


async def test_a_connection_that_was_forgotten_on_the_way_is_found_out_by_a_ping(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(proxy.url, answer_timeout_s=0.3)
    await database.check()
    monkeypatch.setattr(engine, "_IDLE_S", -1.0)

    proxy.forget()

    assert await database.check()
    await database.close()


@pytest.mark.parametrize(("autocommit", "stays"), [(True, [[1]]), (False, [])])
async def test_a_statement_commits_by_itself_only_with_autocommit(
    database: Database, autocommit: bool, stays: list[Any]
) -> None:
    async def work(session: AsyncSession) -> None:
        await session.execute(text("INSERT INTO notes VALUES (1, '[1]')"))
        await session.execute(text("SELECT 1/0"))

    with pytest.raises(DBAPIError, match="division by zero"):
        await database.run(work, autocommit=autocommit)

    assert await bodies(database) == stays


async def test_an_exhausted_pool_says_which_setting_to_raise(empty_database: str) -> None:
    database = Database(empty_database, pool_size=1, max_overflow=0)
    database.engine.pool._timeout = 0.05  # type: ignore[attr-defined]  # 30 s otherwise

    async with database.begin() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailableError, match="pool_size"):
            await database.check()
    await database.close()


async def test_a_mistake_in_sql_is_no_outage(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        await database.run(lambda session: session.execute(text("SELEC")))

    assert not is_outage(caught.value)


async def test_the_checkpoint_pool_is_as_langgraph_needs_it(empty_database: str) -> None:
    pool = await open_checkpoint_pool(empty_database, application_name="worker-7", answer_timeout_s=5)

    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT current_setting('search_path') AS path, current_setting('transaction_timeout') AS timeout"
        )
        assert await cursor.fetchone() == {"path": "langgraph,public", "timeout": "5s"}
        assert connection.autocommit
    await pool.close()


async def test_a_connection_that_the_server_closed_while_idle_is_not_handed_out(
    database: Database, empty_database: str
) -> None:
    pool = await open_checkpoint_pool(empty_database, min_size=1, max_size=1)
    async with pool.connection() as connection:
        pid = connection.info.backend_pid
    async with database.begin() as session:
        await session.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    async with pool.connection() as connection:
        assert connection.info.backend_pid != pid
        await connection.execute("SELECT 1")
    await pool.close()


async def test_pools_that_do_not_fit_the_server_are_named(database: Database) -> None:
    sentence = await connection_shortage(database, {"tables": 15, "checkpoints": 10_000})

    assert sentence is not None
    assert "10015 connections (tables 15, checkpoints 10000)" in sentence


async def test_pools_that_fit_need_no_word(database: Database) -> None:
    assert await connection_shortage(database, {"tables": 15, "checkpoints": 8}) is None


async def test_a_limit_of_the_database_counts_too(database: Database) -> None:
    async with database.begin() as session:
        name = await session.scalar(text("SELECT current_database()"))
        await session.execute(text(f'ALTER DATABASE "{name}" CONNECTION LIMIT 12'))

    assert "at most 12" in (await connection_shortage(database, {"tables": 15}) or "")


async def test_a_network_that_swallows_a_statement_counts_as_an_outage(proxy: Proxy) -> None:
    database = Database(proxy.url, answer_timeout_s=0.3)
    pool = await open_checkpoint_pool(proxy.url, answer_timeout_s=0.3)
    await database.check()

    proxy.forget()
    async with asyncio.timeout(10):
        with pytest.raises(DatabaseUnavailableError, match=r"no answer within 0\.3 s"):
            await database.check()
        with pytest.raises(psycopg.OperationalError) as silent:
            async with pool.connection() as connection:
                await connection.execute("SELECT 1")

        assert is_outage(silent.value)
        await database.check()
        async with pool.connection() as connection:
            await connection.execute("SELECT 1")
    await pool.close()
    await database.close()
