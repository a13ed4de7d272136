"""Databases for tests: each its own, cloned from one that has been upgraded once."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from perron.database.embedded import EmbeddedServer
from perron.database.url import DatabaseUrl

SERVER_VARIABLE = "PERRON_TEST_DATABASE_URL"
"""Names a PostgreSQL to make the databases on, by a user who may; without it an embedded server is started."""

_ROOM_BYTES = 2_000_000_000


@contextmanager
def server_for_tests() -> Iterator[DatabaseUrl]:
    """Yield the server that the tests' databases are made on."""
    if named := os.environ.get(SERVER_VARIABLE):
        yield DatabaseUrl.parse(named)
        return
    directory = Path(tempfile.mkdtemp(prefix="perron-test-", dir=_memory()))
    server = EmbeddedServer(directory)
    try:
        url = DatabaseUrl.parse(server.acquire())
        # Nothing here has to outlive the power: commits become several times as fast.
        _execute(url, SQL("ALTER SYSTEM SET fsync = off"))
        _execute(url, SQL("ALTER SYSTEM SET full_page_writes = off"))
        _execute(url, SQL("SELECT pg_reload_conf()"))
        yield url
    finally:
        server.release()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def new_database(server: DatabaseUrl, *, template: DatabaseUrl | None = None) -> Iterator[DatabaseUrl]:
    """Yield a database that nobody else has, empty or a clone of `template`; it is dropped at the end."""
    url = server.on(f"test_{uuid4().hex}")
    name = Identifier(str(url.database))
    source = Identifier(str(template.database) if template else "template0")
    _execute(server, SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(name, source))
    try:
        yield url
    finally:
        _execute(server, SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


@contextmanager
def upgraded_database(server: DatabaseUrl) -> Iterator[DatabaseUrl]:
    """Yield a new database with all owners' tables, to be cloned: nobody may be connected to it."""
    from perron.core.upgrade import upgrade_database  # noqa: PLC0415  # brings LangGraph

    with new_database(server) as url:
        failures: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(upgrade_database(url))
            except BaseException as exc:  # noqa: BLE001  # handed to the thread that waits
                failures.append(exc)

        # In a thread of its own: asyncio.run would unset the loop of the tests' own runner in this one.
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        yield url


def _memory() -> Path | None:
    """Return a file system in memory that has room: a database is made there ten times as fast as on a disk."""
    memory = Path("/dev/shm")  # noqa: S108  # only mkdtemp makes anything in it
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _ROOM_BYTES
    return memory if has_room else None


def _execute(url: DatabaseUrl, statement: SQL | Composed) -> None:
    with psycopg.connect(url.psycopg, autocommit=True) as connection:
        connection.execute(statement)
