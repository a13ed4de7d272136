"""Partitions of `run_events`: one a week by the time in the uuid7 of the run, made ahead of their use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncSession

from perron.database.engine import SCHEMA
from perron.ids import least_id

WEEKS_AHEAD = 8
WEEK = timedelta(weeks=1)
DROP_WAIT_MS = 100
_LOCK = "perron.run_events"


async def ensure_partitions(session: AsyncSession) -> None:
    """Make the partitions of this week and of the next `WEEKS_AHEAD`, in the session's transaction.

    Where all exist, which is nearly always, that is one query. Any number of processes may do it at once. Events
    of these weeks that landed in the default partition move to where they belong.

    Raises:
        sqlalchemy.exc.DBAPIError: With SQLSTATE 55P03: others held it up for 5 s.
    """
    await (await session.connection()).run_sync(make_partitions)


def make_partitions(connection: Connection) -> None:
    """As `ensure_partitions`, on a connection in a transaction."""
    schema = _schema(connection)
    if not _missing(connection, schema):
        return
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"{_LOCK} {schema}"})
    events = f"{connection.dialect.identifier_preparer.quote(schema)}.run_events"
    # As ATTACH takes it, but before rows are looked for: none may land there between the two.
    connection.execute(text(f"LOCK TABLE {events}_default"))
    for week in _missing(connection, schema):  # again: another process may have had the lock before
        for statement in _statements(events, week):
            connection.execute(text(statement))


def _statements(events: str, week: date) -> tuple[str, ...]:
    partition = f"{events}_{_suffix(week)}"
    first, end = f"'{lower_bound(week)}'", f"'{lower_bound(week + WEEK)}'"
    strays = f"DELETE FROM {events}_default WHERE run_id >= {first} AND run_id < {end} RETURNING *"  # noqa: S608
    return (
        # Not CREATE … PARTITION OF: its lock on `run_events` would stop all reading and writing of events.
        f"CREATE TABLE {partition} (LIKE {events} INCLUDING ALL)",
        f"WITH strays AS ({strays}) INSERT INTO {partition} SELECT * FROM strays",  # noqa: S608  # all names are ours
        f"ALTER TABLE {events} ATTACH PARTITION {partition} FOR VALUES FROM ({first}) TO ({end})",
    )


def lower_bound(week: date) -> UUID:
    """Return the least uuid7 of a day."""
    return least_id(datetime.combine(week, time(), tzinfo=UTC))


async def past_weeks(session: AsyncSession, *, age: timedelta) -> list[date]:
    """Return the Mondays of the partitions whose week has ended so long ago, oldest first."""
    return await (await session.connection()).run_sync(_past_weeks, age)


async def drop_week(session: AsyncSession, week: date) -> bool:
    """Drop the partition of a week; False when another process is at it.

    Nobody waits for it longer than `DROP_WAIT_MS`: its lock on `run_events` stops all reading and writing of
    events, also while it waits for one that holds them. (DETACH … CONCURRENTLY needs no such lock, and is refused
    where there is a default partition.)

    Raises:
        sqlalchemy.exc.DBAPIError: With SQLSTATE 55P03: somebody held `run_events` for longer.
    """
    return await (await session.connection()).run_sync(_drop_week, week)


def _drop_week(connection: Connection, week: date) -> bool:
    schema = _schema(connection)
    lock = text("SELECT pg_try_advisory_xact_lock(hashtext(:name))")
    if not connection.execute(lock, {"name": f"{_LOCK} {schema}"}).scalar_one():
        return False
    connection.execute(text(f"SET LOCAL lock_timeout = {DROP_WAIT_MS}"))
    events = f"{connection.dialect.identifier_preparer.quote(schema)}.run_events"
    connection.execute(text(f"DROP TABLE IF EXISTS {events}_{_suffix(week)}"))
    return True


def _past_weeks(connection: Connection, age: timedelta) -> list[date]:
    today, names = _partitions(connection, _schema(connection))
    found = (re.fullmatch(r"run_events_(\d{4})_(\d\d)_(\d\d)", name) for name in names)
    weeks = sorted(date(*map(int, match.groups())) for match in found if match)
    return [week for week in weeks if week + WEEK + age <= today]


def _schema(connection: Connection) -> str:
    schema: str = connection.get_execution_options().get("schema_translate_map", {}).get(SCHEMA, SCHEMA)
    return schema


def _partitions(connection: Connection, schema: str) -> tuple[date, Sequence[str]]:
    """Return the date by the database's clock, and the names of all partitions."""
    today, names = connection.execute(
        text("""
            SELECT (now() AT TIME ZONE 'UTC')::date, array_agg(p.relname::text)
            FROM pg_inherits i
            JOIN pg_class p ON p.oid = i.inhrelid
            JOIN pg_class t ON t.oid = i.inhparent AND t.relname = 'run_events'
            JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = :schema
        """),
        {"schema": schema},
    ).one()
    return today, names or ()


def _missing(connection: Connection, schema: str) -> list[date]:
    today, names = _partitions(connection, schema)
    monday = today - timedelta(days=today.weekday())
    weeks = (monday + n * WEEK for n in range(WEEKS_AHEAD + 1))
    return [week for week in weeks if f"run_events_{_suffix(week)}" not in names]


def _suffix(week: date) -> str:
    return f"{week:%Y_%m_%d}"
