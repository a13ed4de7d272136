"""`integration(Shop)`: called from async and sync code, under a key, and by who may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, assert_type

import pytest
from pydantic import BaseModel

from perron.errors import (
    ConfigurationError,
    ConnectionNotFoundError,
    DefinitionError,
    Invalid,
    OutsidePlatformError,
    UnknownNameError,
)
from perron.integrations.api.api import Api
from perron.integrations.integration import Integration
from perron.integrations.operations.accessor import integration
from perron.integrations.operations.operation import Operation, PagedOperation, operation
from perron.integrations.repeat import AskPerson
from perron.integrations.run.context import running

if TYPE_CHECKING:
    from tests.integrations.conftest import ThreadDriver, Wire

    from perron.integrations.run.context import RunContext


class Settings(BaseModel):
    base_url: str
    unit: str = "cents"


class Order(BaseModel):
    id: int


class Shop(Integration[Settings, None]):
    key, title = "shop", "Shop"

    @operation(effect="create", repeat=AskPerson)
    async def buy(self, api: Api, item: str, count: int = 1) -> Order:
        """Buy an item."""
        return await api.post(
            "/orders", json={"item": item, "count": count, "unit": self.settings.unit}, into=Order
        )

    @operation(effect="read")
    async def orders(self, api: Api) -> AsyncIterator[Order]:
        """List orders."""
        async for order in api.pages("/orders", into=Order):
            yield order


class Elsewhere(Shop):
    key, title = "elsewhere", "Elsewhere"


def test_a_type_checker_knows_arguments_and_results() -> None:
    async def use() -> None:
        assert_type(await integration(Shop).buy("i-1", count=2), Order)
        assert_type(await integration(Shop).buy.once("k")("i-1"), Order)
        assert_type(integration(Shop).buy.sync("i-1"), Order)
        async for order in integration(Shop).orders():
            assert_type(order, Order)
        await integration(Shop).buy(1)  # type: ignore[arg-type]  # if this were not an error, mypy would say so
        await integration(Shop).buy("i-1", size=1)  # type: ignore[call-arg]  # as above

    assert callable(use)
    assert isinstance(Shop.buy, Operation)
    assert isinstance(Shop.orders, PagedOperation)


async def test_settings_are_those_of_the_run(shop_run: RunContext, wire: Wire) -> None:
    shop_run.settings = {"shop": {"base_url": wire.url, "unit": "euros"}}
    wire.reply({"id": 1}, 201)

    assert await integration(Shop).buy("i-1") == Order(id=1)

    assert wire.requests[0].body == b'{"item": "i-1", "count": 1, "unit": "euros"}'


async def test_an_integration_without_credentials_needs_no_connection(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"id": 1}, 201)

    await integration(Shop).buy("i-1")

    assert "authorization" not in wire.requests[0].headers


async def test_sync_code_in_a_thread_gets_the_result(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"id": 1}, 201)
    wire.reply({"items": [{"id": 1}, {"id": 2}], "next": None})

    def node() -> tuple[Order, list[Order]]:
        return integration(Shop).buy.sync("i-1"), integration(Shop).orders.sync()

    assert await asyncio.to_thread(node) == (Order(id=1), [Order(id=1), Order(id=2)])


async def test_sync_on_the_loop_is_refused_instead_of_hanging(shop_run: RunContext, thread: ThreadDriver) -> None:
    with pytest.raises(DefinitionError, match=r"shop\.buy\.sync is for sync nodes"):
        integration(Shop).buy.sync("i-1")

    assert await thread.calls() == []


async def test_places_are_taken_in_the_order_of_the_code(
    shop_run: RunContext, wire: Wire, thread: ThreadDriver
) -> None:
    for n in (1, 2, 3):
        wire.reply({"id": n}, 201)

    first, second = integration(Shop).buy("first"), integration(Shop).buy("second")
    await second
    await first

    calls = {
        call.arguments["item"]: call.slot for call in await thread.calls() if isinstance(call.arguments, dict)
    }
    assert calls == {"first": "#1", "second": "#2"}


async def test_a_key_of_the_authors_makes_one_call_of_two(
    shop_run: RunContext, wire: Wire, thread: ThreadDriver
) -> None:
    wire.reply({"id": 1}, 201)

    one = await integration(Shop).buy.once("order-7")("i-1")
    two = await integration(Shop).buy.once("order-7")("i-1")

    (call,) = await thread.calls()
    assert (one, two, call.slot) == (Order(id=1), Order(id=1), "=order-7")
    assert len(wire.requests) == 1


async def test_an_empty_key_is_refused(shop_run: RunContext) -> None:
    with pytest.raises(Invalid, match="not empty"):
        integration(Shop).buy.once("")


async def test_an_operation_that_was_not_granted_is_refused(shop_run: RunContext, wire: Wire) -> None:
    shop_run.grants = frozenset({"shop.orders"})

    with pytest.raises(Invalid, match=r"The agent 'triage' may not use shop\.buy: add it to its `uses`"):
        await integration(Shop).buy("i-1")

    assert wire.requests == []


async def test_arguments_that_do_not_fit_take_no_place(shop_run: RunContext, thread: ThreadDriver) -> None:
    with pytest.raises(Invalid, match=r"shop\.buy: count"):
        await integration(Shop).buy("i-1", count="many")  # type: ignore[arg-type]

    assert await thread.calls() == []


async def test_an_integration_of_no_loaded_plugin_is_refused(shop_run: RunContext) -> None:
    with pytest.raises(UnknownNameError, match="elsewhere"):
        integration(Elsewhere)


async def test_a_setting_that_does_not_fit_is_named(shop_run: RunContext) -> None:
    shop_run.settings = {}

    with pytest.raises(ConfigurationError, match="base_url"):
        integration(Shop)


def test_outside_a_run_the_sentence_names_the_fixture() -> None:
    with pytest.raises(
        OutsidePlatformError, match=r"integration\(Shop\).*fixture `database_url` of perron\.testing"
    ):
        integration(Shop)


async def test_a_replay_needs_no_connection_and_sends_nothing(
    shop_run: RunContext, wire: Wire, thread: ThreadDriver
) -> None:
    wire.reply({"id": 1}, 201)
    first = await integration(Shop).buy("i-1")

    again = (await thread.execution()).context
    again.integrations, again.settings = shop_run.integrations, shop_run.settings
    with running(again):
        second = await integration(Shop).buy("i-1")

    assert second == first
    assert len(wire.requests) == 1


async def test_without_a_connection_a_person_is_asked(shop_run: RunContext, wire: Wire) -> None:
    async def none(*_: object) -> None:
        raise ConnectionNotFoundError("shop")

    shop_run.integrations.connections.find = none  # type: ignore[method-assign,assignment]  # nothing is stored

    with pytest.raises(Exception) as stopped:
        await integration(Shop).buy("i-1")

    assert type(stopped.value).__name__ == "Stopped"
    assert [ask.kind for ask in shop_run.asks.values()] == ["connection"]
    assert wire.requests == []
