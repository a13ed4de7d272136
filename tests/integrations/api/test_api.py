"""`Api`: what operations send, and what comes of it. Over a real socket, through the real journal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, SecretStr

from perron.errors import DefinitionError, Invalid, NotFound, Upstream
from perron.integrations.api.api import Api
from perron.integrations.auth import Bearer
from perron.integrations.integration import Account, Integration
from perron.integrations.operations.accessor import integration
from perron.integrations.operations.operation import operation
from perron.integrations.repeat import AskPerson, Harmless, LookUp, SameKey

if TYPE_CHECKING:
    from tests.integrations.conftest import ThreadDriver, Wire

    from perron.integrations.run.context import RunContext


class Settings(BaseModel):
    base_url: str


class Token(BaseModel):
    token: SecretStr


class Item(BaseModel):
    id: int


class Shop(Integration[Settings, Token]):
    key, title = "shop", "Shop"
    auth = Bearer("token")
    redact = ("$..email",)

    async def check(self, api: Api) -> Account:
        return Account(id="1", label="Shop")

    @operation(effect="read")
    async def show(self, api: Api, item: str) -> Item:
        """Show an item."""
        return await api.get("/items/{item}", item=item, into=Item)

    @operation(effect="read")
    async def sneaky(self, api: Api) -> None:
        """Write though declared as a read."""
        await api.delete("/items/1")

    @operation(effect="read")
    async def items(self, api: Api, tag: str | None = None) -> AsyncIterator[Item]:
        """List items."""
        async for item in api.pages("/items", tag=tag, into=Item, max_items=5):
            yield item

    @operation(effect="create", repeat=SameKey("Idempotency-Key"))
    async def buy(self, api: Api, item: str, email: str = "") -> Item:
        """Buy an item."""
        return await api.post("/items/{item}/orders", item=item, json={"email": email}, into=Item)

    @operation(effect="create", repeat=Harmless)
    async def twice(self, api: Api) -> None:
        """Write twice."""
        await api.put("/a")
        await api.patch("/b")

    @operation(effect="create", repeat=AskPerson)
    async def raw(self, api: Api) -> dict[str, Any]:
        """Return what comes."""
        result: dict[str, Any] = await api.post("/raw")
        return result

    @operation(effect="create", repeat=AskPerson)
    async def loose(self, api: Api) -> Item:
        """Return JSON where an item was promised."""
        result: Item = await api.post("/loose")
        return result

    async def find(self, api: Api, marker: str) -> Item | None:
        async for item in api.pages("/items", ref=marker, into=Item):
            return item
        return None

    @operation(effect="create", repeat=LookUp(find, settle_s=0))
    async def marked(self, api: Api) -> Item:
        """Create something that can be found."""
        return await api.post("/items", json={"ref": api.marker}, into=Item)

    @operation(effect="create", repeat=LookUp(find, settle_s=0))
    async def unmarked(self, api: Api) -> Item:
        """Create something that nobody can find."""
        return await api.post("/items", json={"ref": ""}, into=Item)


async def test_a_read_carries_the_connection_and_comes_back_typed(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"id": 7})

    item = await integration(Shop).show("../users")

    assert item == Item(id=7)
    (request,) = wire.requests
    assert (request.method, request.target) == ("GET", "/items/..%2Fusers")
    assert request.headers["authorization"] == "Bearer canary-7f3a"


async def test_a_write_carries_its_key(shop_run: RunContext, wire: Wire, thread: ThreadDriver) -> None:
    wire.reply({"id": 1}, 201)

    await integration(Shop).buy("i-1", email="ann@mail.example")

    (request,) = wire.requests
    (call,) = await thread.calls()
    assert request.headers["idempotency-key"] == call.idempotency_key
    assert json.loads(request.body) == {"email": "ann@mail.example"}
    assert call.plugin_version == "1.2.3"


async def test_the_journal_shows_neither_what_is_redacted_nor_credentials(
    shop_run: RunContext, wire: Wire, thread: ThreadDriver
) -> None:
    wire.reply({"id": 1, "email": "ann@mail.example"}, 201)

    await integration(Shop).buy("i-1", email="ann@mail.example")

    (call,) = await thread.calls()
    (attempt,) = await thread.attempts()
    shown = repr([vars(call), vars(attempt)])
    assert call.arguments == {"item": "i-1", "email": "[redacted]"}
    assert attempt.request_body == {"email": "[redacted]"}
    assert (attempt.method, attempt.path) == ("POST", "/items/i-1/orders")
    assert "ann@mail.example" not in shown
    assert "canary-7f3a" not in shown


async def test_a_read_that_writes_is_refused_before_anything_leaves(shop_run: RunContext, wire: Wire) -> None:
    with pytest.raises(DefinitionError, match="declared as a read and sends DELETE"):
        await integration(Shop).sneaky()

    assert wire.requests == []


async def test_a_second_write_is_refused_before_it_leaves(shop_run: RunContext, wire: Wire) -> None:
    with pytest.raises(DefinitionError, match="second write, PATCH /b"):
        await integration(Shop).twice()

    assert [request.method for request in wire.requests] == ["PUT"]


async def test_a_write_that_could_not_be_found_is_refused(shop_run: RunContext, wire: Wire) -> None:
    with pytest.raises(DefinitionError, match=r"put `api\.marker` into its request"):
        await integration(Shop).unmarked()

    assert wire.requests == []


async def test_a_marked_write_whose_answer_was_lost_is_found(shop_run: RunContext, wire: Wire) -> None:
    wire.answers.append(b"")
    wire.reply({"items": [{"id": 5}], "next": None})

    item = await integration(Shop).marked()

    assert item == Item(id=5)
    assert [request.method for request in wire.requests] == ["POST", "GET"]
    marker = json.loads(wire.requests[0].body)["ref"]
    assert wire.requests[1].target == f"/items?ref={marker}"


async def test_a_definite_no_is_an_error_with_the_apis_sentence(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"error": {"message": "There is no item 'i-1'."}}, 404)

    with pytest.raises(NotFound, match="There is no item 'i-1'"):
        await integration(Shop).buy("i-1")


async def test_garbage_after_a_2xx_is_upstream_and_is_not_sent_again(
    shop_run: RunContext, wire: Wire, thread: ThreadDriver
) -> None:
    wire.reply_raw(b"<html>thanks</html>", 200)

    with pytest.raises(Upstream, match="cannot be read"):
        await integration(Shop).buy("i-1")

    (call,) = await thread.calls()
    assert (len(wire.requests), call.state) == (1, "done")


async def test_a_result_that_is_not_what_was_promised_is_upstream(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"id": 3}, 201)
    wire.reply({"name": "x"}, 201)

    assert await integration(Shop).loose() == Item(id=3)
    with pytest.raises(Upstream, match="not what was declared"):
        await integration(Shop).loose()


async def test_an_empty_answer_where_something_was_promised_is_upstream(shop_run: RunContext, wire: Wire) -> None:
    wire.reply_raw(b"", 204)

    with pytest.raises(Upstream):
        await integration(Shop).raw()


async def test_a_list_is_read_page_by_page_as_it_is_needed(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"items": [{"id": 1}, {"id": 2}], "next": "/items?page=2"})
    wire.reply({"items": [{"id": 3}], "next": None})
    seen: list[tuple[int, int]] = []

    async for item in integration(Shop).items(tag="a b"):
        seen.append((item.id, len(wire.requests)))

    assert seen == [(1, 1), (2, 1), (3, 2)]
    assert [request.target for request in wire.requests] == ["/items?tag=a+b", "/items?page=2"]
    assert wire.requests[1].headers["authorization"] == "Bearer canary-7f3a"


async def test_a_list_may_be_left_early(shop_run: RunContext, wire: Wire, thread: ThreadDriver) -> None:
    wire.reply({"items": [{"id": 1}, {"id": 2}, {"id": 3}], "next": "/items?page=2"})
    items = integration(Shop).items()

    first = await anext(items)
    await items.aclose()

    await shop_run.journal.close()  # type: ignore[attr-defined]  # the real one
    (call,) = await thread.calls()
    assert first == Item(id=1)
    assert len(wire.requests) == 1
    assert call.state == "done"
    assert isinstance(call.result, dict)
    assert call.result["items"] < 3


async def test_a_list_with_a_link_header(shop_run: RunContext, wire: Wire) -> None:
    wire.reply([{"id": 1}], Link='</items?page=2>; rel="next", </items?page=9>; rel="last"')
    wire.reply([{"id": 2}], Link='</items>; rel="first"')

    assert [item.id async for item in integration(Shop).items()] == [1, 2]


async def test_a_list_that_is_too_long_is_an_error_and_not_cut(shop_run: RunContext, wire: Wire) -> None:
    wire.reply({"items": [{"id": n} for n in range(6)], "next": None})

    with pytest.raises(Invalid, match="more than 5 items"):
        _ = [item async for item in integration(Shop).items()]


@pytest.mark.parametrize(
    ("following", "reason"),
    [
        ("http://evil.example/items", "another host"),
        ("/items", "in a circle"),
        (7, "is no URL"),
    ],
)
async def test_a_next_page_that_leads_astray_is_not_followed(
    shop_run: RunContext, wire: Wire, following: object, reason: str
) -> None:
    wire.reply({"items": [], "next": following})

    with pytest.raises(Upstream) as raised:
        _ = [item async for item in integration(Shop).items()]

    assert reason in raised.value.detail
    assert len(wire.requests) == 1


@pytest.mark.parametrize("page", [{"data": []}, "text", {"items": [{"id": "x"}]}, None])
async def test_a_page_that_is_none_is_upstream(shop_run: RunContext, wire: Wire, page: object) -> None:
    wire.reply(page)

    with pytest.raises(Upstream):
        _ = [item async for item in integration(Shop).items()]
