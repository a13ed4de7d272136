"""Connections: checked, sealed, found by the right runs, and never shown."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pluggy
import pytest
from pydantic import BaseModel, SecretStr

from perron.caller import Caller
from perron.configuration import load_settings
from perron.database.engine import Database
from perron.errors import (
    ConfigurationError,
    ConnectionNotFoundError,
    InvalidInputError,
    PermissionDeniedError,
    PluginError,
    SealError,
    UnknownNameError,
)
from perron.integrations.api.api import Api
from perron.integrations.auth import Bearer
from perron.integrations.connections.configured import ConfiguredConnections
from perron.integrations.connections.connections import Connections
from perron.integrations.host import Integrations
from perron.integrations.integration import Account, Integration
from perron.integrations.sealing.key_ring import KeyRing
from perron.models.connection import SHARED, Connection
from perron.plugins.registry import Registry
from perron.services.connection import ConnectionService
from perron.services.setting import SettingService

ADMIN = Caller.system()
ADA, BOB = Caller("ada"), Caller("bob")


class Where(BaseModel):
    base_url: str


class Token(BaseModel):
    token: SecretStr


class Shop(Integration[Where, Token]):
    key, title = "shop", "Shop"
    auth = Bearer("token")

    async def check(self, api: Api) -> Account:
        me = await api.get("/me")
        return Account(id=str(me["id"]), label=me["name"])


class Weather(Integration[Where, None]):
    key, title = "weather", "Weather"


class Me:
    """The shop's `/me`: who a token is, over a real socket."""

    def __init__(self) -> None:
        self.accounts: dict[str, bytes] = {}
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        token = head.lower().partition("authorization: bearer ")[2].partition("\r\n")[0]
        body = self.accounts.get(token)
        status = b"200 OK" if body is not None else b"401 No"
        writer.write(b"HTTP/1.1 %s\r\nconnection: close\r\n\r\n%s" % (status, body or b"{}"))
        await writer.drain()
        writer.close()


@pytest.fixture
async def me() -> AsyncIterator[Me]:
    me = Me()
    server = await asyncio.start_server(me.serve, "127.0.0.1", 0)
    me.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield me
    server.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


RING = KeyRing(os.urandom(32))


class Process:
    """What one process has of connections."""

    def __init__(
        self, database: Database, *, environment: dict[str, str] | None = None, ring: KeyRing = RING
    ) -> None:
        self.found = Connections(database, ring, ConfiguredConnections(environment or {}, {}))
        self.host = Integrations(self.found, versions={"shop": "1", "weather": "1"})
        classes: dict[str, type] = {"shop": Shop, "weather": Weather}
        registry = Registry(manager=pluggy.PluginManager("perron"), timeout_s=5.0, integrations=classes)
        settings = SettingService(database, load_settings(), registry)
        self.service = ConnectionService(database, self.host, ring, settings, classes)

    async def token_of(self, caller: Caller) -> str:
        """Return the token that a call of this principal would be sent with."""
        credentials = await self.found.find(Shop, caller)
        return credentials.headers["Authorization"].removeprefix("Bearer ")


@pytest.fixture
async def process(database: Database, me: Me, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    monkeypatch.setenv("PERRON_INTEGRATION_SHOP__BASE_URL", me.url)
    process = Process(database)
    yield process
    await process.host.close()


def shown(row: Connection) -> dict[str, Any]:
    """Read every column, as a command line does after the session is closed."""
    return {column.key: getattr(row, column.key) for column in Connection.__table__.columns}


async def test_what_the_api_accepts_is_saved_with_its_account(process: Process, me: Me) -> None:
    me.accounts["canary-1"] = b'{"id": 7, "name": "Ann"}'

    row = await process.service.add(ADMIN, "shop", "canary-1")

    assert (row.account_id, row.account_label, row.state, row.owner) == ("7", "Ann", "ok", SHARED)
    assert "canary" not in repr(shown(row))
    assert await process.token_of(BOB) == "canary-1"


async def test_the_address_is_shown_without_a_password(
    process: Process, me: Me, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = await process.service.address_of(ADMIN, "shop")
    monkeypatch.setenv("PERRON_INTEGRATION_SHOP__BASE_URL", "https://ann:canary-1@shop.example:8443/api")

    assert plain == me.url
    assert await process.service.address_of(ADMIN, "shop") == "https://shop.example:8443/api"


async def test_what_the_api_refuses_is_not_saved(process: Process) -> None:
    with pytest.raises(InvalidInputError, match="does not work") as raised:
        await process.service.add(ADMIN, "shop", "canary-1")

    assert "canary" not in str(raised.value)
    assert list(await process.service.list(ADMIN)) == []


async def test_an_api_that_is_away_is_said_so(process: Process, me: Me, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERRON_INTEGRATION_SHOP__BASE_URL", "http://127.0.0.1:9")

    with pytest.raises(InvalidInputError, match=r"127\.0\.0\.1:9.*ConnectError"):
        await process.service.add(ADMIN, "shop", "canary-1")


async def test_a_check_that_fails_is_its_plugins_fault(process: Process, me: Me) -> None:
    me.accounts["canary-1"] = b'{"login": "ann"}'

    with pytest.raises(PluginError, match="KeyError"):
        await process.service.add(ADMIN, "shop", "canary-1")


async def test_a_principals_own_connection_comes_before_the_shared_one(process: Process, me: Me) -> None:
    me.accounts = {"shared": b'{"id": 1, "name": "All"}', "adas": b'{"id": 2, "name": "Ada"}'}

    await process.service.add(ADMIN, "shop", "shared")
    await process.service.add(ADA, "shop", "adas")

    assert await process.token_of(ADA) == "adas"
    assert await process.token_of(BOB) == "shared"


async def test_another_tenants_connection_is_not_found(process: Process, me: Me) -> None:
    me.accounts["shared"] = b'{"id": 1, "name": "All"}'
    await process.service.add(ADMIN, "shop", "shared")

    with pytest.raises(ConnectionNotFoundError, match="perron connections add shop --from-env"):
        await process.token_of(Caller("ada", tenant="other"))


async def test_configuration_counts_where_the_database_has_none(
    database: Database, process: Process, me: Me
) -> None:
    me.accounts["stored"] = b'{"id": 1, "name": "All"}'
    configured = Process(database, environment={"PERRON_CONNECTION_SHOP": "configured"})

    before = await configured.token_of(BOB)
    await configured.service.add(ADMIN, "shop", "stored")

    assert (before, await configured.token_of(BOB)) == ("configured", "stored")
    assert configured.service.configured() == ["shop"]
    assert process.service.configured() == []
    await configured.host.close()


async def test_adding_again_replaces_the_credentials(process: Process, me: Me) -> None:
    me.accounts = {"old": b'{"id": 1, "name": "Old"}', "new": b'{"id": 1, "name": "New"}'}
    first = await process.service.add(ADMIN, "shop", "old")
    await process.token_of(BOB)

    second = await process.service.add(ADMIN, "shop", "new")

    assert shown(second)["account_label"] == "New"
    assert second.connection_id == first.connection_id
    assert await process.token_of(BOB) == "new"


async def test_a_check_notes_what_the_api_says(process: Process, me: Me) -> None:
    me.accounts["t"] = b'{"id": 1, "name": "Ann"}'
    await process.service.add(ADMIN, "shop", "t")
    account = me.accounts.pop("t")

    with pytest.raises(InvalidInputError):
        await process.service.check(ADMIN, "shop")
    refused = await process.service.show(ADMIN, "shop")
    me.accounts["t"] = account
    accepted = await process.service.check(ADMIN, "shop")

    assert (refused.state, shown(accepted)["state"], accepted.reason) == ("auth_failed", "ok", None)


async def test_what_is_removed_is_gone_at_once(process: Process, me: Me) -> None:
    me.accounts["t"] = b'{"id": 1, "name": "Ann"}'
    await process.service.add(ADMIN, "shop", "t")
    await process.token_of(BOB)

    removed = await process.service.remove(ADMIN, "shop")

    assert shown(removed)["account_label"] == "Ann"
    with pytest.raises(ConnectionNotFoundError):
        await process.token_of(BOB)
    with pytest.raises(ConnectionNotFoundError):
        await process.service.show(ADMIN, "shop")


async def test_a_refusal_is_noted_and_looked_up_again(process: Process, me: Me) -> None:
    me.accounts["t"] = b'{"id": 1, "name": "Ann"}'
    await process.service.add(ADMIN, "shop", "t")

    await process.found.refused(Shop, BOB, await process.found.find(Shop, BOB))

    assert (await process.service.show(ADMIN, "shop")).state == "auth_failed"


async def test_only_admins_share(process: Process, me: Me) -> None:
    me.accounts["t"] = b'{"id": 1, "name": "Ann"}'
    await process.service.add(ADMIN, "shop", "t")

    with pytest.raises(PermissionDeniedError):
        await process.service.add(ADA, "shop", "t", owner=SHARED)
    assert list(await process.service.list(ADA)) == []
    with pytest.raises(ConnectionNotFoundError):
        await process.service.remove(ADA, "shop")
    assert await process.token_of(ADA) == "t"


async def test_another_key_opens_nothing(database: Database, process: Process, me: Me) -> None:
    me.accounts["t"] = b'{"id": 1, "name": "Ann"}'
    await process.service.add(ADMIN, "shop", "t")
    other = Process(database, ring=KeyRing(os.urandom(32)))

    with pytest.raises(SealError, match="sealed with the key"):
        await other.token_of(BOB)
    await other.host.close()


@pytest.mark.parametrize(
    ("key", "error", "sentence"),
    [("shp", UnknownNameError, "Did you mean 'shop'"), ("weather", ConfigurationError, "needs no credentials")],
)
async def test_what_takes_no_connection_says_why(
    process: Process, key: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        await process.service.add(ADMIN, key, "t")
