import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import insert, text

from perron.database.engine import Database
from perron.database.partitions import WEEKS_AHEAD, ensure_partitions, lower_bound
from perron.ids import new_id
from perron.models import RunEvent


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


def run_id_at(moment: datetime) -> UUID:
    """A uuid7 of that moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | new_id().int & (1 << 80) - 1)


def this_monday() -> date:
    today = datetime.now(UTC).date()
    return today - timedelta(days=today.weekday())


def weeks(first: date, count: int) -> set[str]:
    return {f"run_events_{first + timedelta(weeks=n):%Y_%m_%d}" for n in range(count)}


async def partitions(database: Database) -> set[str]:
    query = "SELECT relname FROM pg_class JOIN pg_inherits ON oid = inhrelid WHERE relkind = 'r'"
    async with database.begin() as session:
        return set(await session.scalars(text(query))) - {"run_events_default"}


async def partition_of(database: Database, run_id: UUID) -> str:
    """Insert an event and return where it landed."""
    async with database.begin() as session:
        event = {"run_id": run_id, "epoch": 1, "n": 1, "n_first": 1, "event": "values"}
        await session.execute(insert(RunEvent).values(event))
        where = text("SELECT tableoid::regclass::text FROM perron.run_events WHERE run_id = :run_id")
        return str(await session.scalar(where, {"run_id": run_id}))


async def test_an_upgrade_makes_this_week_and_eight_more(database: Database) -> None:
    assert await partitions(database) == weeks(this_monday(), WEEKS_AHEAD + 1)


async def test_a_new_run_lands_in_this_week_and_the_default_stays_empty(database: Database) -> None:
    landed = await partition_of(database, new_id())

    assert landed == f"perron.run_events_{this_monday():%Y_%m_%d}"
    async with database.begin() as session:
        assert await session.scalar(text("SELECT count(*) FROM perron.run_events_default")) == 0


async def test_a_week_begins_with_its_first_millisecond(database: Database) -> None:
    monday = datetime.combine(this_monday() + timedelta(weeks=1), datetime.min.time(), tzinfo=UTC)

    last, first = run_id_at(monday - timedelta(milliseconds=1)), run_id_at(monday)

    assert await partition_of(database, last) == f"perron.run_events_{this_monday():%Y_%m_%d}"
    assert await partition_of(database, first) == f"perron.run_events_{monday:%Y_%m_%d}"
    assert last < lower_bound(monday.date()) < first


async def test_missing_weeks_are_made_while_events_are_written(database: Database, database_url: str) -> None:
    last = f"perron.run_events_{this_monday() + timedelta(weeks=WEEKS_AHEAD):%Y_%m_%d}"
    async with database.begin() as session:
        await session.execute(text(f"DROP TABLE {last}"))

    with psycopg.connect(database_url) as writer:
        writer.execute(
            "INSERT INTO perron.run_events (run_id, epoch, n, n_first, event) VALUES (%s, 1, 1, 1, 'values')",
            [new_id()],
        )
        async with database.begin() as session:
            await ensure_partitions(session)

    assert await partitions(database) == weeks(this_monday(), WEEKS_AHEAD + 1)


async def test_several_processes_make_the_same_weeks_at_once(database: Database) -> None:
    async with database.begin() as session:
        for name in await partitions(database):
            await session.execute(text(f"DROP TABLE perron.{name}"))

    await asyncio.gather(*(database.run(ensure_partitions) for _ in range(4)))

    assert await partitions(database) == weeks(this_monday(), WEEKS_AHEAD + 1)


async def test_events_that_landed_in_the_default_partition_move_to_their_week(database: Database) -> None:
    late = this_monday() + timedelta(weeks=WEEKS_AHEAD)
    async with database.begin() as session:
        await session.execute(text(f"DROP TABLE perron.run_events_{late:%Y_%m_%d}"))
    far = datetime.combine(late + timedelta(weeks=9), datetime.min.time(), tzinfo=UTC)
    stray, stays = run_id_at(far - timedelta(weeks=9)), run_id_at(far)
    assert await partition_of(database, stray) == "perron.run_events_default"
    assert await partition_of(database, stays) == "perron.run_events_default"

    async with database.begin() as session:
        await ensure_partitions(session)

    async with database.begin() as session:
        left = await session.scalars(text("SELECT run_id FROM perron.run_events_default"))
        moved = await session.scalars(text(f"SELECT run_id FROM perron.run_events_{late:%Y_%m_%d}"))
        assert (list(left), list(moved)) == ([stays], [stray])
