"""`Api`: what an operation's author sends requests with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar, overload

from perron.errors import DefinitionError
from perron.integrations.api.answer import read_answer
from perron.integrations.api.line import Line, Sending
from perron.integrations.api.pages import MAX_ITEMS, PageReader
from perron.integrations.api.request import Params, build, outgoing
from perron.integrations.api.transport import Request
from perron.integrations.exchange import FOUND, ActiveCall, CallSpec, Exchange, Outgoing
from perron.integrations.repeat import LookUp, SameKey

T = TypeVar("T")


class FoundResult(BaseException):  # control flow, which an author's `except Exception` must not catch
    """The call's result is known without the API's answer: found by a look-up, or given by a person."""

    def __init__(self, body: bytes) -> None:
        self.body = body


class Api:
    """One call's way to the API: credentials, journal and errors are taken care of.

    Paths are templates (`/payments/{payment}/refunds`) whose values come as keywords and are quoted; keywords
    that the path does not name go into the query, as does `params`. `into` parses the answer into a type; without
    it the plain JSON comes back. Every method raises the `IntegrationError` that the answer stands for.
    """

    def __init__(self, call: ActiveCall, spec: CallSpec, line: Line) -> None:
        self._call = call
        self._spec = spec
        self._line = line
        self._has_sent = False

    @property
    def marker(self) -> str:
        """The call's own mark, the same at every try; with LookUp the request has to carry it."""
        return self._call.marker

    @overload
    async def get(self, path: str, /, *, into: type[T], params: Params | None = None, **values: object) -> T: ...

    @overload
    async def get(self, path: str, /, *, params: Params | None = None, **values: object) -> Any: ...

    async def get(self, path: str, /, *, into: Any = None, params: Params | None = None, **values: object) -> Any:
        """Read."""
        return self._parse(await self._read(path, params=params, values=values), into)

    @overload
    async def post(
        self, path: str, /, *, into: type[T], json: Any = None, params: Params | None = None, **values: object
    ) -> T: ...

    @overload
    async def post(
        self, path: str, /, *, json: Any = None, params: Params | None = None, **values: object
    ) -> Any: ...

    async def post(
        self, path: str, /, *, into: Any = None, json: Any = None, params: Params | None = None, **values: object
    ) -> Any:
        """Write: create, or whatever the API does on POST."""
        return self._parse(await self._write("POST", path, json, params=params, values=values), into)

    @overload
    async def put(
        self, path: str, /, *, into: type[T], json: Any = None, params: Params | None = None, **values: object
    ) -> T: ...

    @overload
    async def put(
        self, path: str, /, *, json: Any = None, params: Params | None = None, **values: object
    ) -> Any: ...

    async def put(
        self, path: str, /, *, into: Any = None, json: Any = None, params: Params | None = None, **values: object
    ) -> Any:
        """Write: set."""
        return self._parse(await self._write("PUT", path, json, params=params, values=values), into)

    @overload
    async def patch(
        self, path: str, /, *, into: type[T], json: Any = None, params: Params | None = None, **values: object
    ) -> T: ...

    @overload
    async def patch(
        self, path: str, /, *, json: Any = None, params: Params | None = None, **values: object
    ) -> Any: ...

    async def patch(
        self, path: str, /, *, into: Any = None, json: Any = None, params: Params | None = None, **values: object
    ) -> Any:
        """Write: change."""
        return self._parse(await self._write("PATCH", path, json, params=params, values=values), into)

    @overload
    async def delete(
        self, path: str, /, *, into: type[T], params: Params | None = None, **values: object
    ) -> T: ...

    @overload
    async def delete(self, path: str, /, *, params: Params | None = None, **values: object) -> Any: ...

    async def delete(
        self, path: str, /, *, into: Any = None, params: Params | None = None, **values: object
    ) -> Any:
        """Write: delete."""
        return self._parse(await self._write("DELETE", path, None, params=params, values=values), into)

    async def pages(
        self,
        path: str,
        /,
        *,
        into: type[T],
        items: str = "items",
        next_field: str = "next",
        max_items: int = MAX_ITEMS,
        params: Params | None = None,
        **values: object,
    ) -> AsyncIterator[T]:
        """Read a list page by page and yield its items; one page is in memory at a time.

        A page is an object with `items` and the URL of the following page, or a plain list with a `Link` header.

        Raises:
            Invalid: There are more than `max_items`; nothing is left out silently.
        """
        reader = PageReader(self._spec.key, into=into, items=items, next_field=next_field, max_items=max_items)
        request: Request | None = build("GET", self._line.base_url, path, values=values, params=params)
        while request is not None:
            page = reader.read(await self._send_read(request, path, values), request.url)
            for item in page.items:
                yield item
            request = Request("GET", page.following, request.headers) if page.following else None

    def _parse(self, exchange: Exchange, into: Any) -> Any:
        return read_answer(exchange, operation=self._spec.key, into=into)

    async def _read(self, path: str, *, params: Params | None, values: Mapping[str, object]) -> Exchange:
        request = build("GET", self._line.base_url, path, values=values, params=params)
        return await self._send_read(request, path, values)

    async def _send_read(self, request: Request, path: str, values: Mapping[str, object]) -> Exchange:
        shown = self._shown(request, path, values, None)
        async with Sending(self._line, request, timeout_s=self._spec.timeout_s) as sending:
            return await self._call.read(shown, sending.send, prepare=sending.prepare)

    async def _write(
        self, method: str, path: str, body: Any, *, params: Params | None, values: Mapping[str, object]
    ) -> Exchange:
        spec = self._spec
        if spec.effect == "read":
            raise DefinitionError(f"{spec.key} is declared as a read and sends {method}: declare its real effect.")
        if self._has_sent:
            raise DefinitionError(
                f"{spec.key} sends a second write, {method} {path}: make it an operation of its own, so that each "
                "can be repeated safely."
            )
        headers = {spec.repeat.header: self.marker} if isinstance(spec.repeat, SameKey) else None
        request = build(
            method, self._line.base_url, path, values=values, params=params, body=body, headers=headers
        )
        if isinstance(spec.repeat, LookUp) and not _carries(request, self.marker):
            raise DefinitionError(
                f"{spec.key} is declared with LookUp: put `api.marker` into its request, or nothing can find it."
            )
        self._has_sent = True
        shown = self._shown(request, path, values, body)
        async with Sending(self._line, request, timeout_s=spec.timeout_s) as sending:
            exchange = await self._call.send(shown, sending.send, prepare=sending.prepare)
        if FOUND in exchange.headers:
            raise FoundResult(exchange.body)
        return exchange

    def _shown(self, request: Request, path: str, values: Mapping[str, object], body: Any) -> Outgoing:
        return outgoing(
            request,
            self._line.base_url,
            path,
            values=values,
            body=body,
            timeout_s=self._spec.timeout_s,
            paths=self._spec.redact,
        )


def _carries(request: Request, marker: str) -> bool:
    return marker in request.url or marker.encode() in (request.content or b"")
