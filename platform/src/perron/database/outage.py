"""Outages: which errors mean that PostgreSQL is away, and the sentence that says so."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import psycopg
import psycopg_pool
from sqlalchemy import exc as sa

from perron import clock
from perron.database.url import DatabaseUrl
from perron.errors import DatabaseUnavailableError

DatabaseError = sa.DBAPIError
"""What PostgreSQL refuses, through our engine; `sqlstate` tells what it was."""

T = TypeVar("T")

DEADLOCK = "40P01"
UNIQUE_VIOLATION = "23505"

_OUTAGE_S = 60.0

_STATES = {
    "28P01": "the password of the user is wrong",
    "28000": "the user does not exist, or the server does not let it in (see its pg_hba.conf)",
    "3D000": "the database does not exist; make it with `createdb`",
    "53300": "the server has no connection left (see max_connections)",
    "57P03": "the server is starting or stopping; try again in a moment",
}


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code of an error of either driver, also inside SQLAlchemy's."""
    for candidate in (error, getattr(error, "orig", None)):
        state = getattr(candidate, "sqlstate", None)
        if isinstance(state, str):
            return state
    return None


def is_passing(error: BaseException) -> bool:
    """Say whether the same statement may succeed when it is sent again: a deadlock, a lock, a time limit."""
    return sqlstate(error) in {DEADLOCK, "40001", "55P03", "57014", "25P04"}


def is_outage(error: BaseException) -> bool:
    """Say whether an error means that the server or the connection to it is gone: later it may work."""
    if isinstance(error, (DatabaseUnavailableError, psycopg_pool.PoolTimeout, sa.TimeoutError, TimeoutError)):
        return True
    state = sqlstate(error)
    if state is not None:  # connection exceptions, out of connections, server going down or coming up
        return state[:2] == "08" or state in {"53300", "57P01", "57P02", "57P03", "57P05"}
    if isinstance(error, sa.DBAPIError):
        return error.connection_invalidated
    # Without a code psycopg's OperationalError and asyncpg's InterfaceError come from a lost connection.
    return isinstance(error, (psycopg.OperationalError, asyncpg.InterfaceError, ConnectionError))


async def outlast(read: Callable[[], Awaitable[T]], *, pause_s: float) -> T:
    """Return what `read` returns, and try again while the database is away, for up to a minute.

    For those who wait for something that goes on without them: a restart of the server is no news to them.

    Raises:
        DatabaseUnavailableError: It was away for longer.
    """
    give_up_at = clock.boot_s() + _OUTAGE_S
    while True:
        try:
            return await read()
        except DatabaseUnavailableError:
            if clock.boot_s() >= give_up_at:
                raise
        await asyncio.sleep(pause_s)


def was_cancelled() -> bool:
    """Whether the running task is to end, also where a driver took the cancellation for a failure of its own.

    For loops that survive whatever fails in them: they would go on for ever, and whoever waits for their end, too.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def unavailable(url: DatabaseUrl, error: BaseException, *, timeout_s: float) -> DatabaseUnavailableError:
    """Say in one sentence why the database at `url` cannot be used."""
    reason = _reason(error, timeout_s)
    return DatabaseUnavailableError(
        f"The database at {url.shown} cannot be used: {reason}.", url=url.shown, reason=reason
    )


def _reason(error: BaseException, timeout_s: float) -> str:
    state = sqlstate(error)
    if state in _STATES:
        return _STATES[state]
    if isinstance(error, sa.TimeoutError):
        return "all connections of this process are in use (see the settings pool_size and max_overflow)"
    if isinstance(error, (TimeoutError, psycopg_pool.PoolTimeout)):
        return f"it gave no answer within {timeout_s:g} s"
    if isinstance(error, socket.gaierror):
        return "the host is unknown"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; is the server running"
    if isinstance(error, FileNotFoundError):
        return "its socket or a file that the URL names does not exist; is the server running"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection came about ({error.reason or error})"
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
