"""Sending one request: with credentials, and with word of those that were refused."""

from __future__ import annotations

from uuid import UUID

from perron.integrations.exchange import BeforeBytes, Exchange
from perron.integrations.line import Credentials, Line
from perron.integrations.transport import Request

UNAUTHORIZED = 401


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
