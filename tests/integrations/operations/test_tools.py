"""Operations and effects as tools of a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field

from perron.errors import DefinitionError
from perron.integrations.api.api import Api
from perron.integrations.integration import Integration
from perron.integrations.operations.effect import effect
from perron.integrations.operations.operation import operation
from perron.integrations.operations.tools import tools
from perron.integrations.repeat import AskPerson, Harmless

if TYPE_CHECKING:
    from tests.integrations.conftest import Wire

    from perron.integrations.run.context import RunContext


class Settings(BaseModel):
    base_url: str


class Order(BaseModel):
    id: int


class Shop(Integration[Settings, None]):
    key, title = "shop", "Shop"

    @operation(effect="create", repeat=AskPerson)
    async def buy(self, api: Api, item: Annotated[str, Field(description="Which item.")], count: int = 1) -> Order:
        """Buy an item."""
        return await api.post("/orders", json={"item": item, "count": count}, into=Order)

    @operation(effect="delete", repeat=Harmless)
    async def cancel(self, api: Api, order: int) -> None:
        """Cancel an order."""
        await api.delete("/orders/{order}", order=order)

    @operation(effect="read")
    async def orders(self, api: Api) -> AsyncIterator[Order]:
        """List orders."""
        async for order in api.pages("/orders", into=Order):
            yield order


@effect("talk.greet", repeat=Harmless)
async def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}"


def tool(used: Any) -> BaseTool:
    (made,) = tools(used)
    return made


async def invoke(used: Any, arguments: dict[str, Any]) -> ToolMessage:
    call = {"type": "tool_call", "id": "call-1", "name": tool(used).name, "args": arguments}
    message = await tool(used).ainvoke(call)
    assert isinstance(message, ToolMessage)
    return message


def test_a_tool_has_the_operations_name_schema_and_docstring() -> None:
    made = tool(Shop.buy)

    schema = made.tool_call_schema.model_json_schema()  # type: ignore[union-attr]
    assert (made.name, made.description) == ("shop_buy", "Buy an item.")
    assert schema["properties"]["item"]["description"] == "Which item."
    assert schema["required"] == ["item"]


async def test_a_model_sees_results_as_json(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"id": 7}, 201)
    wire.reply_raw(b"", 204)

    bought = await invoke(Shop.buy, {"item": "i-1"})
    cancelled = await invoke(Shop.cancel, {"order": 7})
    greeted = await invoke(greet, {"name": "Ann"})

    assert [m.content for m in (bought, cancelled, greeted)] == ['{"id":7}', "Done.", "Hello Ann"]
    assert json.loads(wire.requests[0].body) == {"item": "i-1", "count": 1}


async def test_a_model_sees_the_beginning_of_a_list(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"items": [{"id": n} for n in range(101)], "next": None})

    listed = json.loads(str((await invoke(Shop.orders, {})).content))

    assert (len(listed["items"]), listed["has_more"]) == (100, True)


async def test_an_error_is_the_tools_answer_in_its_safe_text(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"message": "Sold out."}, 409)

    message = await invoke(Shop.buy, {"item": "i-1"})

    assert message.status == "error"
    assert message.content == "shop.buy: the API refused this (409): Sold out."


async def test_arguments_that_do_not_fit_are_the_tools_answer(shop_run: RunContext, wire: Wire) -> None:
    message = await invoke(Shop.buy, {"item": "i-1", "count": "many"})

    assert message.status == "error"
    assert "count" in str(message.content)
    assert wire.requests == []


async def test_a_question_to_a_person_goes_on_through(shop_run: RunContext, wire: Wire) -> None:
    wire.answers.append(b"")

    with pytest.raises(Exception) as stopped:
        await invoke(Shop.buy, {"item": "i-1"})

    assert type(stopped.value).__name__ == "Stopped"


async def test_a_tool_works_from_sync_code(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"id": 7}, 201)

    assert await asyncio.to_thread(tool(Shop.buy).invoke, {"item": "i-1"}) == '{"id":7}'


def test_what_is_no_operation_is_refused() -> None:
    with pytest.raises(DefinitionError, match="is no operation or effect"):
        tools(Shop)  # type: ignore[arg-type]  # what the test is about


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="'shop_buy'"):
        tools(Shop.buy, Shop.buy)
