"""HTTP: the only file that knows the HTTP library."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from perron.integrations.exchange import UNREADABLE, BeforeBytes, Exchange, NoAnswer, NotSent

ANSWER_BYTES = 20_000_000
"""The largest answer that is read, after decompression."""
_REDIRECTS = 5
_LIBRARIES = frozenset({"httpx", "httpcore", "httpx2", "httpcore2"})
# Below the idle time after which common servers hang up (nginx: 75 s, uvicorn: 5 s): a request that is written
# into a connection just being closed gets no answer, and that is a question to a person.
_KEEPALIVE_S = 4.0
_LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=100, keepalive_expiry=_KEEPALIVE_S)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; credentials are in the headers, which therefore never show."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | None = field(default=None, repr=False)
    server_name: str | None = None
    """Whom the certificate has to name, where `url` has an address instead."""


class HttpClients:
    """One client per integration and base URL, each with its own connections."""

    def __init__(self, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Take `transport` instead of the network: httpx.MockTransport in a plugin's tests."""
        self._transport = transport
        self._clients: dict[tuple[str, str], HttpClient] = {}
        self._tls: ssl.SSLContext | None = None

    def get(self, integration: str, base_url: str) -> HttpClient:
        """Return the client for this API; opened at its first use, closed with the platform."""
        key = (integration, base_url)
        if key not in self._clients:
            if self._tls is None:
                self._tls = httpx.create_ssl_context()
            client = httpx.AsyncClient(
                transport=self._transport,
                verify=self._tls,
                limits=_LIMITS,
                timeout=None,  # noqa: S113  # `exchange` sets one deadline for the whole attempt
            )
            self._clients[key] = HttpClient(client, is_faked=self._transport is not None)
        return self._clients[key]

    async def close(self) -> None:
        """Close all connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()


class HttpClient:
    """Sends single requests and says of each failure whether something may have arrived."""

    def __init__(
        self, client: httpx.AsyncClient, *, is_faked: bool = False, answer_bytes: int = ANSWER_BYTES
    ) -> None:
        self._client = client
        self._is_faked = is_faked
        self._answer_bytes = answer_bytes

    @classmethod
    def to_addresses(cls) -> HttpClient:
        """Return a client for URLs with an address in place of a name; of answers it reads the status only.

        It goes through no proxy, which would choose the address itself, and keeps no connection: one is found
        again by its address, and may have been made to another name there.
        """
        client = httpx.AsyncClient(
            verify=httpx.create_ssl_context(),
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=None,  # noqa: S113  # `exchange` sets one deadline for the whole attempt
        )
        return cls(client, answer_bytes=0)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def exchange(self, request: Request, *, timeout_s: float, before_bytes: BeforeBytes) -> Exchange:
        """Send once and read the whole answer, within `timeout_s` altogether.

        A GET follows redirects within its own origin; nothing else does, since they would be second requests.

        Raises:
            NotSent: No connection, or refused on this side: not a byte of the request left.
            NoAnswer: It left, and no complete HTTP answer came back in time.
        """
        attempt = _Attempt(before_bytes)
        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(_REDIRECTS):
                    answer = await self._once(request, attempt)
                    target = _redirect(request, answer)
                    if target is None:
                        break
                    request = Request(request.method, target, request.headers)
                return answer
        except TimeoutError as exc:
            raise attempt.failure(f"no answer within {timeout_s:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as exc:
            raise attempt.failure(_describe(exc)) from exc

    async def _once(self, request: Request, attempt: _Attempt) -> Exchange:
        built = self._client.build_request(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.content,
            extensions={
                "trace": attempt.trace,
                **({"sni_hostname": request.server_name} if request.server_name else {}),
            },
        )
        if self._is_faked:
            attempt.begin()
        response = await self._client.send(built, stream=True)
        try:
            headers = {name.lower(): value for name, value in response.headers.items()}
            try:
                body = await _read(response, most_bytes=self._answer_bytes)
            except _TooLargeError:
                headers[UNREADABLE] = f"the answer is larger than {self._answer_bytes // 1_000_000} MB"
                body = b""
            except httpx.DecodingError:
                headers[UNREADABLE] = "the answer is wrongly compressed"
                body = b""
            return Exchange(response.status_code, headers, body)
        finally:
            await response.aclose()


class _Attempt:
    """Knows whether a byte of the request has left, from the events of the connection."""

    def __init__(self, before_bytes: BeforeBytes) -> None:
        self._before_bytes = before_bytes
        self._has_begun = False

    def begin(self) -> None:
        if not self._has_begun:
            self._before_bytes()
            self._has_begun = True

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        # A proxy's CONNECT says nothing about the request itself.
        if event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self.begin()

    def failure(self, detail: str) -> NotSent | NoAnswer:
        return NoAnswer(detail) if self._has_begun else NotSent(detail)


class _TooLargeError(Exception):
    """The answer goes on after the largest size that is read."""


async def _read(response: httpx.Response, *, most_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > most_bytes:
            raise _TooLargeError
    return bytes(body)


def _redirect(request: Request, answer: Exchange) -> str | None:
    location = answer.headers.get("location")
    if request.method != "GET" or answer.status not in (301, 302, 307, 308) or not location:
        return None
    target = urljoin(request.url, location)
    # Elsewhere the credentials in the headers would be given away.
    return target if same_origin(target, request.url) else None


def same_origin(one: str, other: str) -> bool:
    """Say whether two URLs share scheme, host and port."""
    return urlsplit(one)[:2] == urlsplit(other)[:2]


def is_http_error(exc: BaseException) -> bool:
    """Say whether an exception is an HTTP library's: httpx's or httpx2's, which are unrelated classes."""
    return any(cls.__module__.partition(".")[0] in _LIBRARIES for cls in type(exc).__mro__)


def _describe(exc: Exception) -> str:
    # Of what was wrong on this side only the kind is told: the text may quote a header, and so a credential.
    is_local = isinstance(exc, httpx.LocalProtocolError | httpx.InvalidURL | httpx.UnsupportedProtocol)
    text = "" if is_local else " ".join(str(exc).split())[:200]
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
