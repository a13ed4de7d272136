"""A line to an API: where it is, how requests get their credentials, and one of them on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from perron.integrations.api.transport import HttpClient, Request
from perron.integrations.exchange import BeforeBytes, Exchange

UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Credentials:
    """A connection ready for use: headers that say who we are, and that never show."""

    connection_id: UUID | None
    """None for one from configuration, and where none is needed."""
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """What an `Api` sends through, for one integration and one principal."""

    client: HttpClient
    base_url: str
    credentials: Callable[[], Awaitable[Credentials]]
    """Raises ConnectionNotFoundError or AuthFailed."""
    refused: Callable[[Credentials], Awaitable[None]]
    """To be told when the API refused them."""


class Sending:
    """One request on its way, for the length of its block; `prepare` and `send` are handed to the journal."""

    def __init__(self, line: Line, request: Request, *, timeout_s: float) -> None:
        self._line = line
        self._request = request
        self._timeout_s = timeout_s
        self._credentials = Credentials(None, {})
        self._is_refused = False

    async def __aenter__(self) -> Sending:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Only now: within `send`, a slow database would look like an API that does not answer.
        if self._is_refused:
            await self._line.refused(self._credentials)

    async def prepare(self) -> UUID | None:
        """Find the credentials; return their connection's id. Errors: see `Line.credentials`."""
        self._credentials = await self._line.credentials()
        return self._credentials.connection_id

    async def send(self, before_bytes: BeforeBytes) -> Exchange:
        """Send once. Errors: see `HttpClient.exchange`."""
        request = self._request
        headers = {**request.headers, **self._credentials.headers}
        exchange = await self._line.client.exchange(
            Request(request.method, request.url, headers, request.content),
            timeout_s=self._timeout_s,
            before_bytes=before_bytes,
        )
        self._is_refused = exchange.status == UNAUTHORIZED
        return exchange
