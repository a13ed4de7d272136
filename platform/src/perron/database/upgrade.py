"""The upgrade: our tables by Alembic, then the other owners' set-up, one process at a time."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg import Error as PsycopgError
from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from perron.database.engine import SCHEMA
from perron.database.outage import is_outage, sqlstate, unavailable
from perron.database.partitions import make_partitions
from perron.database.schema import LANGGRAPH_SCHEMA, connect, ensure_schema, find_schema
from perron.database.url import DatabaseUrl
from perron.errors import InvalidInputError, SchemaError
from perron_migrations.history import revisions

Owner = Callable[[DatabaseUrl], Awaitable[None]]
"""Sets up the tables of a library. Runs again at every upgrade."""

_LOCK = "perron.upgrade"
_POLL_S = 0.05
_STEPS_BACK = re.compile(r"-[1-9]\d*")
_alembic = threading.Lock()  # Alembic keeps what it is doing in module globals


async def upgrade(
    url: DatabaseUrl | str,
    *,
    schema: str = SCHEMA,
    langgraph_schema: str = LANGGRAPH_SCHEMA,
    owners: Sequence[Owner] = (),
    timeout_s: float = 600.0,
) -> None:
    """Bring every owner's tables in a database to this release. Any number of processes may do it at once.

    A newer schema that this release can work with is left as it is.

    Args:
        owners: What is set up after our own tables, under the same lock.
        timeout_s: How long to wait for another process that is at it.

    Raises:
        SchemaError: The role may not make the schemas, a table is in use, another process does not come to an end,
            or the database needs a newer release. The sentence says what to do.
        DatabaseUnavailableError: The server cannot be reached.
    """
    url = DatabaseUrl.parse(url) if isinstance(url, str) else url
    async with _alone(url, timeout_s) as connection:
        for name in (schema, langgraph_schema):
            await ensure_schema(connection, name)
        installed = await find_schema(connection, schema)
        if installed is not None:
            installed.require_fit(langgraph_schema=langgraph_schema)
        names = {"schema": schema, "langgraph_schema": langgraph_schema}
        if installed is None or not (installed.is_current or installed.is_newer):
            await _on_connection(url, partial(_run_alembic, "upgrade", "head", names))
        await _on_connection(url, partial(_make_partitions, schema))
        for set_up in owners:
            await set_up(url)


async def downgrade(
    url: DatabaseUrl | str,
    revision: str = "-1",
    *,
    schema: str = SCHEMA,
    langgraph_schema: str = LANGGRAPH_SCHEMA,
    timeout_s: float = 600.0,
) -> None:
    """Take our tables back: one revision (`-1`), to a named one, or to nothing (`base`). LangGraph's stay.

    Raises:
        SchemaError: As `upgrade`, or the revision is not one to go back to from here.
        InvalidInputError: There is no such revision; the message names all.
        DatabaseUnavailableError: The server cannot be reached.
    """
    url = DatabaseUrl.parse(url) if isinstance(url, str) else url
    async with _alone(url, timeout_s) as connection:
        installed = await find_schema(connection, schema)
        if installed is None:
            raise SchemaError(f"The database has no schema {schema!r} of Perron: there is nothing to take back.")
        if installed.is_newer:
            raise SchemaError(
                f"A newer Perron made the database's schema (revision {installed.revision}): "
                "run `perron db downgrade` of that release.",
                revision=installed.revision,
            )
        if revision not in ("base", *revisions()) and not _STEPS_BACK.fullmatch(revision):
            known = ", ".join(revisions())
            raise InvalidInputError(
                f"There is no revision {revision!r}. There are: base, {known}; -1 is one step back."
            )
        names = {"schema": schema, "langgraph_schema": langgraph_schema}
        await _on_connection(url, partial(_run_alembic, "downgrade", revision, names))


@asynccontextmanager
async def _alone(url: DatabaseUrl, timeout_s: float) -> AsyncIterator[AsyncConnection[Any]]:
    """Hold the upgrade lock of a database, and turn what goes wrong meanwhile into a sentence."""
    try:
        async with await connect(url) as connection:
            try:
                async with asyncio.timeout(timeout_s):
                    # Never a lock that waits: LangGraph's CREATE INDEX CONCURRENTLY waits for the waiting
                    # statement's snapshot, and PostgreSQL would end one of the two as a deadlock.
                    while not await _try_lock(connection):  # noqa: ASYNC110  # another process has it
                        await asyncio.sleep(_POLL_S)
            except TimeoutError:
                raise SchemaError(
                    f"Another process has been upgrading the database for {timeout_s:g} s: see what it does in "
                    "pg_stat_activity, and try again when it has ended."
                ) from None
            yield connection
    except (PsycopgError, SQLAlchemyError) as exc:
        raise _in_words(url, exc) from exc


async def _try_lock(connection: AsyncConnection[Any]) -> bool:
    row = await (await connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [_LOCK])).fetchone()
    return row is not None and bool(row[0])


async def _on_connection(url: DatabaseUrl, work: Callable[[Connection], None]) -> None:
    """Run `work` in a thread: Alembic knows no asyncio."""

    def run() -> None:
        with create_engine(url.sqlalchemy_psycopg, poolclass=NullPool).connect() as connection:
            work(connection)

    await asyncio.to_thread(run)


def _run_alembic(
    action: Literal["upgrade", "downgrade"], revision: str, names: dict[str, str], connection: Connection
) -> None:
    # Here, and not at the top: importing Alembic takes as long as a whole start that has nothing to upgrade.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "perron_migrations:")  # a package: wheels have no checkout
    config.attributes.update(names, connection=connection)
    try:
        with _alembic:
            getattr(command, action)(config, revision)
    except CommandError as exc:
        raise SchemaError(f"The database cannot be brought to the revision {revision!r}: {exc}.") from exc


def _make_partitions(schema: str, connection: Connection) -> None:
    with connection.begin():
        make_partitions(connection.execution_options(schema_translate_map={SCHEMA: schema}))


def _in_words(url: DatabaseUrl, error: PsycopgError | SQLAlchemyError) -> Exception:
    if is_outage(error):
        return unavailable(url, error, timeout_s=10)
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    match sqlstate(error):
        case "42501":
            return SchemaError(
                f"The database's role may not do what the upgrade needs ({reason}): "
                "have an administrator make it the owner of the schemas, then try again."
            )
        case "55P03":
            return SchemaError(f"The upgrade waited in vain for a table in use ({reason}): try again.")
    return error
