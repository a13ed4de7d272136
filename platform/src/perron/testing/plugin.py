"""The pytest plugin of Perron: fixtures for tests that need a database. Loaded by every pytest that has Perron."""

# pytest imports this in every environment that Perron is installed in, for tests that have nothing to do with it:
# what a fixture needs is therefore imported inside the fixture.
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from perron.database.url import DatabaseUrl


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[DatabaseUrl]:
    """A PostgreSQL for this session: an embedded one, or what `PERRON_TEST_DATABASE_URL` names."""
    from perron.testing.database import server_for_tests

    with server_for_tests() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url(postgres_server: DatabaseUrl) -> str:
    """The URL of the session's PostgreSQL server; its own database is not for tests."""
    return postgres_server.full


@pytest.fixture
def empty_database(postgres_server: DatabaseUrl) -> Iterator[str]:
    """The URL of a database with nothing in it, of this test alone."""
    from perron.testing.database import new_database

    with new_database(postgres_server) as url:
        yield url.full


@pytest.fixture(scope="session")
def upgraded_template(postgres_server: DatabaseUrl) -> Iterator[DatabaseUrl]:
    """A database with Perron's tables that others are cloned from."""
    from perron.testing.database import upgraded_database

    with upgraded_database(postgres_server) as url:
        yield url


@pytest.fixture
def database_url(postgres_server: DatabaseUrl, upgraded_template: DatabaseUrl) -> Iterator[str]:
    """The URL of a database with Perron's tables and no rows, of this test alone."""
    from perron.testing.database import new_database

    with new_database(postgres_server, template=upgraded_template) as url:
        yield url.full
