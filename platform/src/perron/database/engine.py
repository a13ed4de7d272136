"""`Database`: the engine on asyncpg and its short transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import event, make_url, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from perron import clock
from perron.database.encoding import dumps, loads
from perron.database.outage import DEADLOCK, is_outage, sqlstate, unavailable
from perron.database.silence import has_word
from perron.database.url import DatabaseUrl
from perron.errors import DatabaseUnavailableError

SCHEMA = "perron"
"""The schema that the models name; `Database(schema=…)` puts another in its place."""
OLDEST_VERSION = 17
ANSWER_S = 60.0
"""The longest that a statement or a transaction of ours may take, by default."""

_USED_AT = "perron_used_at"
_IDLE_S = 30.0
"""A connection that was used since is taken without a ping: three round trips, as many as a short transaction."""

T = TypeVar("T")

Session: TypeAlias = AsyncSession
"""What a transaction hands to repositories; the floors above use it only for that."""


class Database:
    """One database: its pool of connections and the transactions on it.

    Nothing is opened before the first use. Belongs to the event loop that uses it first.
    """

    def __init__(
        self,
        url: DatabaseUrl | str,
        *,
        schema: str = SCHEMA,
        pool_size: int = 5,
        max_overflow: int = 10,
        pool_recycle_s: int = 3600,
        echo: bool = False,
        connect_timeout_s: float = 10.0,
        answer_timeout_s: float = ANSWER_S,
        application_name: str = "perron",
    ) -> None:
        """Prepare the pool.

        Args:
            answer_timeout_s: How long to wait for the answer to a statement: a network that swallows packets never
                fails by itself. PostgreSQL ends a transaction that takes longer, and its connection: a stopped
                process must not hold its locks for ever.
            application_name: What `pg_stat_activity` shows; a worker's backends are found by it.

        Raises:
            ConfigurationError: `url` is no PostgreSQL URL.
        """
        self.url = DatabaseUrl.parse(url) if isinstance(url, str) else url
        self.schema = schema
        self.max_connections = pool_size + max_overflow
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        server_settings = {
            "application_name": application_name,
            "transaction_timeout": str(round(answer_timeout_s * 1000)),
        }
        self.engine: AsyncEngine = create_async_engine(
            self.url.asyncpg,
            echo=echo,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_recycle=pool_recycle_s,
            json_serializer=dumps,
            json_deserializer=loads,
            connect_args={
                "async_creator_fn": self._connect,
                "timeout": connect_timeout_s,
                "command_timeout": answer_timeout_s,
                "server_settings": server_settings,
            },
        )
        if schema != SCHEMA:
            self.engine = self.engine.execution_options(schema_translate_map={SCHEMA: schema})
        event.listen(self.engine.sync_engine, "checkin", _note_use)
        event.listen(self.engine.sync_engine, "checkout", self._check_idle)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._autocommit_sessions = async_sessionmaker(autocommit, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self, *, autocommit: bool = False) -> AsyncIterator[AsyncSession]:
        """Open a session in one transaction: committed at the end, rolled back on an exception.

        With `autocommit` each statement commits by itself, which saves the round trips of BEGIN and COMMIT: for
        work that changes something by one statement only.

        Raises:
            DatabaseUnavailableError: The server cannot be reached, does not answer, or the connection was lost.
        """
        sessions = self._autocommit_sessions if autocommit else self._sessions
        try:
            async with sessions.begin() as session:
                yield session
        except (SQLAlchemyError, TimeoutError) as exc:  # asyncpg's timeout passes through SQLAlchemy as it is
            if is_outage(exc):
                raise unavailable(self.url, exc, timeout_s=self._answer_timeout_s) from exc
            raise

    async def run(self, work: Callable[[AsyncSession], Awaitable[T]], *, autocommit: bool = False) -> T:
        """Return what `work` returns, run in one transaction, and once more when it was a deadlock's victim.

        `work` must be fit to run twice: what it changes lies in the session. `autocommit` is as in `begin`.
        """
        try:
            async with self.begin(autocommit=autocommit) as session:
                return await work(session)
        except DBAPIError as exc:
            if sqlstate(exc) != DEADLOCK:
                raise
        async with self.begin(autocommit=autocommit) as session:
            return await work(session)

    async def check(self) -> str:
        """Connect and return the server's version, as in "18.4".

        Raises:
            DatabaseUnavailableError: It cannot be reached, lets us not in, or is too old; the sentence says which.
        """
        async with self.begin() as session:
            version, number = (
                await session.execute(
                    text("SELECT split_part(version(), ' ', 2), current_setting('server_version_num')::int")
                )
            ).one()
        if number // 10_000 < OLDEST_VERSION:
            raise DatabaseUnavailableError(
                f"The database at {self.url.shown} is PostgreSQL {version}; "
                f"Perron needs {OLDEST_VERSION} or newer.",
                url=self.url.shown,
                version=version,
            )
        return str(version)

    async def close(self) -> None:
        """Close all connections; those in use close when they are given back."""
        await self.engine.dispose()

    def _check_idle(self, connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        # SQLAlchemy replaces a connection that is refused here. Only one that was idle for long may have been
        # forgotten on the way without a goodbye.
        driver: Any = record.driver_connection
        if driver.is_closed() or has_word(driver._transport.get_extra_info("socket").fileno()):  # noqa: SLF001
            raise DisconnectionError("The server has closed the connection.")
        if clock.boot_s() - record.info.get(_USED_AT, clock.boot_s()) > _IDLE_S:
            try:
                self.engine.dialect.do_ping(connection)
            except (self.engine.dialect.loaded_dbapi.Error, TimeoutError) as exc:
                raise DisconnectionError(str(exc)) from exc

    async def _connect(self, **arguments: Any) -> asyncpg.Connection[asyncpg.Record]:
        return await _connect(self.url, arguments, timeout_s=self._connect_timeout_s)


async def connect_asyncpg(
    url: DatabaseUrl, *, application_name: str = "perron", timeout_s: float = 10.0
) -> asyncpg.Connection[asyncpg.Record]:
    """Open one connection outside of all pools, for LISTEN and libraries that want their own.

    Raises:
        DatabaseUnavailableError: The server cannot be reached.
    """
    dialect = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
    _, arguments = dialect.create_connect_args(make_url(url.asyncpg))  # type: ignore[no-untyped-call]
    options = {
        "server_settings": {"application_name": application_name},
        "timeout": timeout_s,
        "command_timeout": ANSWER_S,
    }
    return await _connect(url, {**arguments, **options}, timeout_s=timeout_s)


async def _connect(
    url: DatabaseUrl, arguments: dict[str, Any], *, timeout_s: float
) -> asyncpg.Connection[asyncpg.Record]:
    # The one place where connections begin: translated here, no caller ever sees an OSError of a socket.
    try:
        return await asyncpg.connect(**arguments)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as exc:
        raise unavailable(url, exc, timeout_s=timeout_s) from exc


def _note_use(_: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = clock.boot_s()
