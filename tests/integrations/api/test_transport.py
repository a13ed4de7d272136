"""What may have arrived: every way in which one request can end."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from perron.errors import LeaseLostError
from perron.integrations.api.transport import HttpClient, HttpClients, Request, is_http_error
from perron.integrations.exchange import UNREADABLE, Exchange, NoAnswer, NotSent

if TYPE_CHECKING:
    from tests.integrations.conftest import Wire


@pytest.fixture
async def client(wire: Wire) -> AsyncIterator[HttpClient]:
    clients = HttpClients()
    yield clients.get("shop", wire.url)
    await clients.close()


async def send(client: HttpClient, request: Request, *, timeout_s: float = 5.0) -> Exchange:
    return await client.exchange(request, timeout_s=timeout_s, before_bytes=lambda: None)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_an_answer_comes_back_with_lower_case_names(client: HttpClient, wire: Wire) -> None:
    wire.reply({"id": 1}, 201, Location="/r/1")

    exchange = await send(client, Request("POST", f"{wire.url}/r?a=b", {"X-Key": "k"}, b'{"n": 1}'))

    assert (exchange.status, exchange.body, exchange.headers["location"]) == (201, b'{"id": 1}', "/r/1")
    (received,) = wire.requests
    assert (received.method, received.target, received.body) == ("POST", "/r?a=b", b'{"n": 1}')
    assert received.headers["x-key"] == "k"


async def test_nobody_listening_is_not_sent(client: HttpClient) -> None:
    with pytest.raises(NotSent, match="ConnectError"):
        await send(client, Request("POST", f"http://127.0.0.1:{free_port()}/"))


async def test_an_unknown_scheme_is_not_sent(client: HttpClient) -> None:
    with pytest.raises(NotSent):
        await send(client, Request("POST", "gopher://127.0.0.1/"))


async def test_a_connection_that_is_cut_after_the_request_is_no_answer(client: HttpClient, wire: Wire) -> None:
    wire.answers.append(b"")

    with pytest.raises(NoAnswer):
        await send(client, Request("POST", wire.url))

    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01 not http\r\n\r\n", b"HTTP/1.1 200 X\r\ncontent-length: 90\r\n\r\n{", b"HTTP/1.1 abc\r\n\r\n"],
)
async def test_something_that_is_no_answer_is_no_answer(client: HttpClient, wire: Wire, garbage: bytes) -> None:
    async def answer() -> bytes:
        return garbage

    wire.answers.append(answer)

    with pytest.raises(NoAnswer):
        await send(client, Request("POST", wire.url), timeout_s=0.5)


async def test_the_deadline_covers_the_whole_attempt(client: HttpClient, wire: Wire) -> None:
    released = asyncio.Event()

    async def drip() -> bytes:
        await released.wait()
        return b""

    wire.answers.append(drip)

    with pytest.raises(NoAnswer, match=r"no answer within 0.2 s"):
        await send(client, Request("POST", wire.url), timeout_s=0.2)
    released.set()


async def test_a_connection_that_never_opens_is_not_sent(client: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        full = [socket.socket() for _ in range(8)]
        for each in full:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())

        with pytest.raises(NotSent, match=r"no answer within 0.3 s"):
            await send(client, Request("POST", f"http://127.0.0.1:{listener.getsockname()[1]}/"), timeout_s=0.3)

        for each in full:
            each.close()


@pytest.mark.parametrize("refusal", [LeaseLostError("The lease is over."), NotSent("too late")])
async def test_who_may_not_send_any_more_sends_not_a_byte(
    client: HttpClient, wire: Wire, refusal: Exception
) -> None:
    def refuse() -> None:
        raise refusal

    with pytest.raises(type(refusal)):
        await client.exchange(Request("POST", wire.url), timeout_s=5, before_bytes=refuse)

    assert wire.requests == []
    assert (await send(client, Request("POST", wire.url))).status == 200


async def test_the_last_word_is_asked_on_a_reused_connection_too(client: HttpClient, wire: Wire) -> None:
    asked: list[int] = []

    for _ in range(3):
        await client.exchange(
            Request("POST", wire.url), timeout_s=5, before_bytes=lambda: asked.append(len(wire.requests))
        )

    assert asked == [0, 1, 2]


async def test_an_answer_that_is_too_large_keeps_its_status(
    client: HttpClient, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_answer_bytes", 1_000_000)
    wire.reply_raw(b"x" * 1_000_001, 201)

    exchange = await send(client, Request("POST", wire.url))

    assert (exchange.status, exchange.body) == (201, b"")
    assert exchange.headers[UNREADABLE] == "the answer is larger than 1 MB"


async def test_compression_is_undone_and_counts_unpacked(
    client: HttpClient, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_answer_bytes", 1_000_000)
    wire.reply_raw(gzip.compress(b'{"id": 1}'), content_encoding="gzip")
    wire.reply_raw(gzip.compress(b"x" * 1_000_001), content_encoding="gzip")
    wire.reply_raw(b"not gzip", content_encoding="gzip")

    bodies = [await send(client, Request("GET", wire.url)) for _ in range(3)]

    assert bodies[0].body == b'{"id": 1}'
    assert "larger" in bodies[1].headers[UNREADABLE]
    assert "compressed" in bodies[2].headers[UNREADABLE]


async def test_a_write_follows_no_redirect(client: HttpClient, wire: Wire) -> None:
    wire.reply({}, 307, Location="/elsewhere")

    exchange = await send(client, Request("POST", wire.url, content=b"{}"))

    assert exchange.status == 307
    assert len(wire.requests) == 1


async def test_a_read_follows_redirects_within_its_origin_only(client: HttpClient, wire: Wire) -> None:
    wire.reply({}, 301, Location="/moved")
    wire.reply({"found": True})
    wire.reply({}, 301, Location="http://other.example/steal")

    inside = await send(client, Request("GET", f"{wire.url}/old", {"Authorization": "Bearer canary"}))
    outside = await send(client, Request("GET", f"{wire.url}/old"))

    assert inside.body == b'{"found": true}'
    assert [request.target for request in wire.requests] == ["/old", "/moved", "/old"]
    assert outside.status == 301


async def test_redirects_in_a_circle_end(client: HttpClient, wire: Wire) -> None:
    for _ in range(20):
        wire.reply({}, 302, Location="/again")

    exchange = await send(client, Request("GET", f"{wire.url}/again"))

    assert exchange.status == 302
    assert len(wire.requests) < 10


async def test_a_header_that_cannot_be_sent_is_not_quoted(client: HttpClient, wire: Wire) -> None:
    with pytest.raises((NotSent, NoAnswer)) as raised:
        await send(client, Request("POST", wire.url, {"Authorization": "Bearer canary\r\nx"}))

    assert "canary" not in str(raised.value)


def test_exceptions_of_both_http_libraries_are_known() -> None:
    other = type("ConnectError", (Exception,), {"__module__": "httpx2._exceptions"})

    assert is_http_error(other())
    assert not is_http_error(ValueError())
