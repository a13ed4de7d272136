"""Finding the connection of a call: the owner's, else the shared one, else the one from configuration."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from pydantic import BaseModel

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import ConnectionNotFoundError, DatabaseUnavailableError
from perron.integrations.api.line import Credentials
from perron.integrations.connections.configured import ConfiguredConnections
from perron.integrations.connections.credentials import RowIdentity, Sealed, open_credentials
from perron.integrations.integration import Integration
from perron.integrations.sealing.key_ring import KeyRing
from perron.models.connection import Connection
from perron.repositories.connection import ConnectionRepository

FRESH_S = 5.0
"""How long found credentials are used before they are looked up again."""


class Connections:
    """Opens credentials for calls; opens its own short transactions."""

    def __init__(self, database: Database, ring: KeyRing, configured: ConfiguredConnections) -> None:
        self._database = database
        self._ring = ring
        self._configured = configured
        self._found: dict[tuple[str, str, str], tuple[float, Credentials]] = {}

    async def find(self, integration: type[Integration[Any, Any]], caller: Caller) -> Credentials:
        """Return the credentials of the connection that a principal's calls use.

        Raises:
            ConnectionNotFoundError: There is none.
            SealError: It cannot be opened with this process's key.
            AuthFailed: It cannot be sent.
        """
        if integration.auth is None or integration.credentials_type is None:
            return Credentials(None, {})
        place = (integration.key, caller.tenant, caller.principal)
        found_at_s, credentials = self._found.get(place, (0.0, None))
        if credentials is not None and time.monotonic() - found_at_s < FRESH_S:
            return credentials
        async with self._database.begin() as session:
            row = await ConnectionRepository(session, caller).find_for(integration.key)
        opened = self._configured.find(integration) if row is None else self.open(integration, row)
        if opened is None:
            raise ConnectionNotFoundError(integration.key)
        credentials = Credentials(row.connection_id if row else None, integration.auth.headers(opened))
        self._found[place] = (time.monotonic(), credentials)
        return credentials

    def open(self, integration: type[Integration[Any, Any]], row: Connection) -> BaseModel:
        """Open a row's credentials.

        Raises:
            SealError: They cannot be opened.
        """
        assert integration.credentials_type is not None
        sealed = Sealed(row.sealed, row.data_key, row.key_id)
        return open_credentials(self._ring, sealed, integration.credentials_type, identity_of(row))

    def is_configured(self, integration: type[Integration[Any, Any]]) -> bool:
        """Say whether configuration has a connection.

        Raises:
            ConfigurationError: It has one that does not fit.
        """
        return self._configured.find(integration) is not None

    async def refused(
        self, integration: type[Integration[Any, Any]], caller: Caller, credentials: Credentials
    ) -> None:
        """Note that the API did not take them: the next call looks again, and people see it."""
        self.forget(integration.key)
        if credentials.connection_id is None:
            return
        with contextlib.suppress(DatabaseUnavailableError):  # the refusal itself is what the caller has to hear
            async with self._database.begin() as session:
                await ConnectionRepository(session, caller).note_refusal(credentials.connection_id)

    def forget(self, key: str) -> None:
        """Look an integration's connections up again at the next call."""
        for place in [place for place in self._found if place[0] == key]:
            del self._found[place]


def identity_of(row: Connection) -> RowIdentity:
    """Return what a row's credentials are bound to."""
    return RowIdentity(row.tenant, row.owner, row.integration, str(row.connection_id))
