"""`ConnectionService`: accounts of integrations, checked before they are saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import (
    ConfigurationError,
    IntegrationError,
    InvalidInputError,
    PermissionDeniedError,
    PerronError,
    PluginError,
    UnknownNameError,
)
from perron.ids import new_id
from perron.integrations.connections.configured import parse_credentials
from perron.integrations.connections.connections import identity_of
from perron.integrations.connections.credentials import seal_credentials
from perron.integrations.host import Integrations
from perron.integrations.integration import Account, Integration
from perron.integrations.sealing.key_ring import KeyRing
from perron.models.connection import SHARED, Connection
from perron.repositories.connection import DEFAULT_NAME, ConnectionRepository
from perron.services.setting import SettingService

AnyIntegration = type[Integration[Any, Any]]


class ConnectionService:
    """Connections of callers. What comes out never holds credentials but sealed ones."""

    def __init__(
        self,
        database: Database,
        integrations: Integrations,
        ring: KeyRing,
        settings: SettingService,
        registered: Mapping[str, type],
    ) -> None:
        """`registered` has the loaded plugins' Integration classes by key."""
        self._database = database
        self._integrations = integrations
        self._ring = ring
        self._settings = settings
        self._registered = registered

    async def add(
        self, caller: Caller, key: str, credentials: str, *, name: str = DEFAULT_NAME, owner: str | None = None
    ) -> Connection:
        """Save an account of an integration, or give the one of this name new credentials.

        Args:
            credentials: A token, or JSON with the fields of the integration's credentials.
            owner: Whose calls use it; `*` is everybody, and what an admin adds unless told otherwise.

        Raises:
            UnknownNameError: No loaded plugin has this integration.
            PermissionDeniedError: For others, only admins may.
            ConfigurationError: The credentials do not fit; the message does not show them.
            InvalidInputError: The API does not accept them, or does not answer. Nothing was saved.
        """
        integration = self.integration(key)
        if integration.credentials_type is None:
            raise ConfigurationError(f"The integration {key!r} needs no credentials, and so no connection.")
        owner = owner or (SHARED if caller.is_admin else caller.principal)
        if owner != caller.principal and not caller.is_admin:
            raise PermissionDeniedError("Only admins may add connections for others.")
        opened = parse_credentials(integration.credentials_type, credentials, where="The credential")
        account = await self._ask(caller, integration, opened)
        async with self._database.begin() as session:
            repository = ConnectionRepository(session, caller)
            row = await repository.find_named(key, name, owner=owner) or Connection(
                connection_id=new_id(), tenant=caller.tenant, owner=owner, integration=key, name=name
            )
            sealed = seal_credentials(self._ring, opened, identity_of(row))
            row.sealed, row.data_key, row.key_id = sealed.sealed, sealed.data_key, sealed.key_id
            _put(row, account)
            await repository.save(row)
        self._integrations.connections.forget(key)
        return row

    async def list(
        self, caller: Caller, *, integration: str | None = None, limit: int = 100
    ) -> Sequence[Connection]:
        """Return the connections that the caller may see, by integration, owner and name."""
        async with self._database.begin() as session:
            return await ConnectionRepository(session, caller).search(integration=integration, limit=limit)

    def configured(self) -> Sequence[str]:
        """Return the keys of the integrations that have a connection in configuration.

        Raises:
            ConfigurationError: One of them does not fit.
        """
        connections = self._integrations.connections
        return [key for key in self._registered if connections.is_configured(self.integration(key))]

    async def show(self, caller: Caller, key: str, *, name: str | None = None) -> Connection:
        """Return one connection.

        Raises:
            ConnectionNotFoundError: There is none for this caller.
        """
        async with self._database.begin() as session:
            return await ConnectionRepository(session, caller).get_one(key, name)

    async def check(self, caller: Caller, key: str, *, name: str | None = None) -> Connection:
        """Ask the API who the connection is, and note the answer.

        Raises:
            ConnectionNotFoundError: There is none for this caller.
            InvalidInputError: The API does not accept it, or does not answer.
        """
        integration = self.integration(key)
        row = await self.show(caller, key, name=name)
        opened = self._integrations.connections.open(integration, row)
        problem: InvalidInputError | None = None
        try:
            _put(row, await self._ask(caller, integration, opened))
        except InvalidInputError as exc:
            problem = exc
            row.state, row.reason = "auth_failed", exc.message
        async with self._database.begin() as session:
            await ConnectionRepository(session, caller).save(row)
        if problem is not None:
            raise problem
        return row

    async def remove(self, caller: Caller, key: str, *, name: str | None = None) -> Connection:
        """Delete a connection and with it its credentials; return what it was.

        Raises:
            ConnectionNotFoundError: There is none for this caller.
        """
        async with self._database.begin() as session:
            repository = ConnectionRepository(session, caller)
            row = await repository.get_one(key, name)
            await repository.delete(row.connection_id)
        self._integrations.connections.forget(key)
        return row

    def integration(self, key: str) -> AnyIntegration:
        """Return a loaded integration.

        Raises:
            UnknownNameError: No loaded plugin has it.
        """
        if key not in self._registered:
            raise UnknownNameError("integration", key, self._registered)
        return self._registered[key]

    async def address_of(self, caller: Caller, key: str) -> str:
        """Return the root of an integration's API, fit to be shown: without user and password.

        Raises:
            UnknownNameError: No loaded plugin has it.
            ConfigurationError: One of its settings does not fit.
        """
        root = urlsplit((await self._open(caller, self.integration(key))).base_url)
        return root._replace(netloc=root.netloc.rpartition("@")[2]).geturl()

    async def _open(self, caller: Caller, integration: AnyIntegration) -> Integration[Any, Any]:
        return integration.open(await self._settings.of_integration(caller, integration.key))

    async def _ask(self, caller: Caller, integration: AnyIntegration, credentials: BaseModel) -> Account:
        """Let the integration find out who the credentials are."""
        opened = await self._open(caller, integration)
        try:
            return await self._integrations.check(opened, credentials)
        except IntegrationError as exc:
            raise InvalidInputError(f"The connection does not work: {exc.detail}") from exc
        except PerronError:
            raise
        except Exception as exc:
            raise PluginError(
                f"The plugin of {integration.key} failed in its check: {type(exc).__name__}: {exc}."
            ) from exc


def _put(row: Connection, account: Account) -> None:
    row.account_id, row.account_label = account.id, account.label
    row.state, row.reason = "ok", None
