"""Partitions of `run_events`: one a week by the time in the uuid7 of the run, made ahead of their use."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncSession

from perron.database.engine import SCHEMA

WEEKS_AHEAD = 8
_WEEK = timedelta(weeks=1)
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
    schema = connection.get_execution_options().get("schema_translate_map", {}).get(SCHEMA, SCHEMA)
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
    first, end = f"'{lower_bound(week)}'", f"'{lower_bound(week + _WEEK)}'"
    strays = f"DELETE FROM {events}_default WHERE run_id >= {first} AND run_id < {end} RETURNING *"  # noqa: S608
    return (
        # Not CREATE … PARTITION OF: its lock on `run_events` would stop all reading and writing of events.
        f"CREATE TABLE {partition} (LIKE {events} INCLUDING ALL)",
        f"WITH strays AS ({strays}) INSERT INTO {partition} SELECT * FROM strays",  # noqa: S608  # all names are ours
        f"ALTER TABLE {events} ATTACH PARTITION {partition} FOR VALUES FROM ({first}) TO ({end})",
    )


def lower_bound(week: date) -> UUID:
    """Return the least uuid7 of a day: its first 48 bits are the milliseconds since 1970."""
    midnight = datetime.combine(week, time(), tzinfo=UTC)
    return UUID(int=int(midnight.timestamp() * 1000) << 80)


def _missing(connection: Connection, schema: str) -> list[date]:
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
    monday = today - timedelta(days=today.weekday())
    weeks = (monday + n * _WEEK for n in range(WEEKS_AHEAD + 1))
    return [week for week in weeks if f"run_events_{_suffix(week)}" not in (names or ())]


def _suffix(week: date) -> str:
    return f"{week:%Y_%m_%d}"
