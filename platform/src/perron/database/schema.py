"""The schema as a database has it: which revision, whether this release can work on it, and who may make it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from psycopg import AsyncConnection, OperationalError, sql
from psycopg.errors import UndefinedTable

from perron.database.engine import SCHEMA
from perron.database.outage import unavailable
from perron.database.url import DatabaseUrl
from perron.errors import SchemaError
from perron_migrations.history import revisions

LANGGRAPH_SCHEMA = "langgraph"
_CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class InstalledSchema:
    """What stands in a database, and for whom."""

    revision: str
    oldest_release: str
    """The oldest release of Perron that can work with it."""
    langgraph_schema: str

    @property
    def is_current(self) -> bool:
        """It is the one of this release."""
        return self.revision == revisions()[-1]

    @property
    def is_newer(self) -> bool:
        """A later release made it: this one does not know its revision."""
        return self.revision not in revisions()

    def require_fit(self, *, langgraph_schema: str) -> None:
        """Check that this release and its settings can work with it, or bring it up to date.

        Raises:
            SchemaError: They cannot.
        """
        release = version("perron")
        if self.is_newer and _order(self.oldest_release) > _order(release):
            raise SchemaError(
                f"The database belongs to a newer Perron: it needs {self.oldest_release} or later, and this is "
                f"{release}. Install that release here.",
                revision=self.revision,
            )
        if self.langgraph_schema != langgraph_schema:
            raise SchemaError(
                f"The database keeps LangGraph's tables in the schema {self.langgraph_schema!r}: "
                f"set PERRON_LANGGRAPH_SCHEMA={self.langgraph_schema}, it cannot change afterwards.",
                langgraph_schema=langgraph_schema,
            )


async def check_schema(
    url: DatabaseUrl | str, *, schema: str = SCHEMA, langgraph_schema: str = LANGGRAPH_SCHEMA
) -> InstalledSchema:
    """Check that this release can work on the database, and return what is there: a newer schema may fit.

    Raises:
        SchemaError: The schema is missing, older, or needs a newer release; the sentence names the command to run.
        DatabaseUnavailableError: The server cannot be reached.
    """
    async with await connect(url) as connection:
        installed = await find_schema(connection, schema)
    if installed is None:
        raise SchemaError(f"The database has no schema {schema!r} of Perron yet: run `perron db upgrade`.")
    installed.require_fit(langgraph_schema=langgraph_schema)
    if not (installed.is_current or installed.is_newer):
        raise SchemaError(
            f"The database's schema is older than this Perron (revision {installed.revision}, needed is "
            f"{revisions()[-1]}): run `perron db upgrade`.",
            revision=installed.revision,
        )
    return installed


async def find_schema(connection: AsyncConnection[Any], schema: str) -> InstalledSchema | None:
    """Return what is installed; None when nothing is."""
    query = "SELECT to_regclass(format('%%I.alembic_version', %(schema)s::text)) IS NOT NULL"
    if not (row := await (await connection.execute(query, {"schema": schema})).fetchone()) or not row[0]:
        return None
    installed = sql.SQL(
        "SELECT version_num, oldest_release, langgraph_schema FROM {0}.alembic_version, {0}.schema_info"
    )
    try:
        row = await (await connection.execute(installed.format(sql.Identifier(schema)))).fetchone()
    except UndefinedTable:  # downgraded to the beginning
        return None
    return InstalledSchema(*row) if row else None


async def ensure_schema(connection: AsyncConnection[Any], name: str) -> None:
    """Make a schema unless it is there, and check that tables can be made in it.

    Raises:
        SchemaError: The role may not; the sentence says what an administrator has to run.
    """
    query = """
        SELECT current_user, to_regnamespace(quote_ident(%(name)s)) IS NOT NULL,
               has_database_privilege(current_database(), 'CREATE'),
               has_schema_privilege(to_regnamespace(quote_ident(%(name)s)), 'CREATE, USAGE')
    """
    row = await (await connection.execute(query, {"name": name})).fetchone()
    assert row is not None
    role, exists, may_create, may_use = row
    if not exists and not may_create:
        raise SchemaError(
            f"The role {role!r} may not make the schema {name!r}: have an administrator run "
            f'`CREATE SCHEMA {name} AUTHORIZATION "{role}"`, then try again.',
            role=role,
            schema=name,
        )
    if exists and not may_use:
        raise SchemaError(
            f"The role {role!r} may not make tables in the schema {name!r}: have an administrator run "
            f'`GRANT CREATE, USAGE ON SCHEMA {name} TO "{role}"`, then try again.',
            role=role,
            schema=name,
        )
    if not exists:
        await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))


async def connect(url: DatabaseUrl | str) -> AsyncConnection[Any]:
    """Open one autocommit connection.

    Raises:
        DatabaseUnavailableError: The server cannot be reached.
    """
    url = DatabaseUrl.parse(url) if isinstance(url, str) else url
    try:
        return await AsyncConnection.connect(url.psycopg, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S)
    except OperationalError as exc:
        raise unavailable(url, exc, timeout_s=_CONNECT_TIMEOUT_S) from exc


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release)[:3])
