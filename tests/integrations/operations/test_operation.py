"""Declaring operations: the signature is the schema, and what is incomplete is refused."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field

from perron.errors import DefinitionError, Invalid
from perron.integrations.api.api import Api
from perron.integrations.exchange import DEFINITE
from perron.integrations.integration import Integration
from perron.integrations.operations.operation import operation, operations_of
from perron.integrations.operations.signature import Signature
from perron.integrations.repeat import AskPerson, Harmless, LookUp, SameKey


class Settings(BaseModel):
    base_url: str = "https://shop.example"


class Order(BaseModel):
    id: int


class Colour(enum.StrEnum):
    RED = "red"


class Shop(Integration[Settings, None]):
    key, title = "shop", "Shop"
    redact: ClassVar[tuple[str, ...]] = ("$.email",)

    @operation(effect="create", repeat=SameKey("X-Key", ttl_h=2), timeout_s=7, definite={400})
    async def buy(
        self,
        api: Api,
        item: Annotated[str, Field(min_length=1, description="Which.")],
        colour: Colour = Colour.RED,
        *,
        on: date | None = None,
    ) -> Order:
        """Buy an item."""
        return Order(id=1)

    @operation(effect="read", freeze=True)
    async def rate(self, api: Api) -> float:
        """Show today's rate."""
        return 1.0

    @operation(effect="read")
    async def orders(self, api: Api, state: Literal["open", "sent"] = "open") -> AsyncIterator[Order]:
        """List orders."""
        yield Order(id=1)


class Outlet(Shop):
    key, title = "outlet", "Outlet"
    redact = ()


def test_an_operation_is_called_after_its_integration() -> None:
    assert (Shop.buy.key, Shop.orders.key) == ("shop.buy", "shop.orders")
    assert list(operations_of(Shop)) == ["buy", "rate", "orders"]


def test_a_subclass_has_operations_of_its_own() -> None:
    assert (Outlet.buy.key, Shop.buy.key) == ("outlet.buy", "shop.buy")
    assert (Outlet.buy.plan.spec.redact, Shop.buy.plan.spec.redact) == ((), ("$.email",))
    assert Outlet.buy is Outlet.buy


def test_what_the_journal_knows_of_an_operation() -> None:
    spec = Shop.buy.plan.spec

    assert (spec.integration, spec.effect, spec.repeat) == ("shop", "create", SameKey("X-Key", ttl_h=2))
    assert (spec.timeout_s, spec.definite) == (7.0, frozenset({400}))
    assert (Shop.rate.plan.spec.freeze, Shop.rate.plan.spec.definite) == (True, DEFINITE)


def test_the_signature_is_the_schema() -> None:
    schema = Shop.buy.arguments.model_json_schema()

    assert schema["required"] == ["item"]
    assert schema["properties"]["item"] == {
        "description": "Which.",
        "minLength": 1,
        "title": "Item",
        "type": "string",
    }
    assert set(schema["properties"]) == {"item", "colour", "on"}
    assert Shop.buy.description == "Buy an item."


def test_arguments_are_read_as_the_function_takes_them() -> None:
    signature = Shop.buy.plan.signature

    bound = signature.bind(("i-1",), {"on": "2024-02-29"})

    assert signature.values(bound) == {"item": "i-1", "colour": Colour.RED, "on": date(2024, 2, 29)}
    assert bound.model_dump(mode="json") == {"item": "i-1", "colour": "red", "on": "2024-02-29"}


@pytest.mark.parametrize(
    ("args", "kwargs", "sentence"),
    [
        ((), {}, "shop.buy: missing a required argument: 'item'"),
        (("a",), {"size": 1}, "unexpected keyword argument 'size'"),
        (("a", "b", "c"), {}, "too many positional arguments"),
        (("a",), {"colour": "blue"}, "shop.buy: colour: Input should be 'red'"),
        (("",), {}, "shop.buy: item: String should have at least 1 character"),
    ],
)
def test_arguments_that_do_not_fit_are_said_in_one_sentence(args: Any, kwargs: Any, sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        Shop.buy.plan.signature.bind(args, kwargs)

    assert sentence in raised.value.message
    assert "\n" not in raised.value.message


async def good(self: Any, api: Api, item: str) -> Order:
    """Do it."""
    return Order(id=1)


def not_async(self: Any, api: Api) -> Order:
    """Do it."""
    return Order(id=1)


async def no_docstring(self: Any, api: Api) -> Order:
    return Order(id=1)


async def no_return(self: Any, api: Api):  # type: ignore[no-untyped-def]  # what the test is about
    """Do it."""


async def no_annotation(self: Any, api: Api, item) -> None:  # type: ignore[no-untyped-def]  # as above
    """Do it."""


async def no_api(self: Any) -> None:
    """Do it."""


async def star(self: Any, api: Api, *items: str) -> None:
    """Do it."""


async def unwritable_result(self: Any, api: Api) -> Callable[[], None]:
    """Do it."""
    return lambda: None


async def unwritable_argument(self: Any, api: Api, hook: Callable[[], None]) -> None:
    """Do it."""


async def unresolved(self: Any, api: Api, item: Unknown) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do it."""


async def many(self: Any, api: Api) -> AsyncIterator[Order]:
    """List them."""
    yield Order(id=1)


async def finder(self: Any, api: Api, marker: str) -> Order | None:
    return None


async def short_finder(marker: str) -> Order | None:
    return None


@pytest.mark.parametrize(
    ("function", "declared", "sentence"),
    [
        (good, {"effect": "create"}, "does not say how a repeat is made safe"),
        (good, {"effect": "read", "repeat": Harmless}, "is a read"),
        (good, {"effect": "wish"}, "effect is one of read, create, update, delete"),
        (good, {"effect": "create", "repeat": LookUp}, "LookUp needs the finder"),
        (good, {"effect": "create", "repeat": "SameKey"}, "repeat is one of"),
        (good, {"effect": "create", "repeat": LookUp(short_finder)}, "async def find(self, api, marker)"),
        (good, {"effect": "create", "repeat": LookUp(not_async)}, "async def find(self, api, marker)"),  # type: ignore[arg-type]
        (good, {"effect": "create", "repeat": AskPerson, "freeze": True}, "`freeze` is for reads"),
        (not_async, {"effect": "read"}, "write `async def`"),
        (no_docstring, {"effect": "read"}, "no docstring"),
        (no_return, {"effect": "read"}, "no return annotation"),
        (no_annotation, {"effect": "read"}, "the parameter 'item' has no annotation"),
        (no_api, {"effect": "read"}, "takes self and api first"),
        (star, {"effect": "read"}, "plain named one"),
        (unwritable_result, {"effect": "read"}, "its result cannot be written as JSON"),
        (unwritable_argument, {"effect": "read"}, "an argument cannot be written as JSON"),
        (unresolved, {"effect": "read"}, "the annotation 'Unknown' cannot be resolved"),
        (many, {"effect": "create", "repeat": AskPerson}, "yields a list"),
        (many, {"effect": "read", "freeze": True}, "cannot be frozen"),
    ],
)
def test_a_declaration_that_is_wrong_is_refused_in_one_sentence(
    function: Any, declared: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DefinitionError) as raised:
        operation(**declared)(function)

    assert sentence in raised.value.message
    assert "\n" not in raised.value.message


def test_a_repeat_may_be_named_as_a_class() -> None:
    declared = operation(effect="update", repeat=Harmless)(good)

    assert declared.repeat == Harmless()


def test_a_result_comes_back_from_json_as_it_was() -> None:
    signature = Signature(good, where="shop.good", given=("self", "api"))

    assert signature.load(signature.dump(Order(id=5))) == Order(id=5)
