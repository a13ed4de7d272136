"""One request that is to go wrong."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope

from perron_desk_server.faults import Fault, FaultKind
from perron_desk_server.waiting import WaitingRoom


class AbandonedError(Exception):
    """The request ends before its effect, without an answer."""


class Exchange:
    """A request under a fault: its connection, its body, and where to wait."""

    def __init__(self, fault: Fault, scope: Scope, receive: Receive, room: WaitingRoom) -> None:
        self.fault = fault
        self._scope = scope
        self._receive = receive
        self._room = room
        self._sever: Callable[[], None] = scope["state"]["sever"]
        self._client_gone: asyncio.Task[None] | None = None

    @property
    def label(self) -> str:
        """The request as `METHOD /path`."""
        return f"{self._scope['method']} {self._scope['path']}"

    async def before_effect(self) -> None:
        """Wait if the fault says so.

        Raises:
            AbandonedError: There shall be no effect any more.
        """
        match self.fault.kind:
            case FaultKind.LATE_BEFORE:
                go_on = await self._room.pause(self.fault.delay_s)
            case FaultKind.HOLD_BEFORE:
                go_on = await self._room.hold(self.label, self._gone())
            case _:
                go_on = True
        if not go_on:
            raise AbandonedError

    async def before_answer(self) -> bool:
        """Wait if the fault says so; whether to answer then."""
        match self.fault.kind:
            case FaultKind.LATE:
                return await self._room.pause(self.fault.delay_s, self._gone())
            case FaultKind.HOLD_AFTER:
                return await self._room.hold(self.label, self._gone())
            case _:
                return True

    async def run(self, app: ASGIApp) -> list[Message]:
        """Let the application work on the request; what it would have sent.

        Raises:
            AbandonedError: The client is gone, or a wait before the effect has ended so.
        """
        body = await self._read_body()
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[Message] = []

        async def receive() -> Message:
            if unread:
                return unread.pop()
            await asyncio.shield(self._gone())
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        self._scope["state"]["exchange"] = self
        await app(self._scope, receive, send)
        return sent

    async def cut(self) -> None:
        """Close the connection without an answer, and see it closed: before that uvicorn would answer 500."""
        self._sever()
        await self._gone()

    def close(self) -> None:
        """Stop to watch the client."""
        if self._client_gone is not None:
            self._client_gone.cancel()

    async def _read_body(self) -> bytes:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise AbandonedError
            body += message["body"]
            if not message["more_body"]:
                return bytes(body)

    def _gone(self) -> asyncio.Task[None]:
        if self._client_gone is None:
            self._client_gone = asyncio.create_task(self._watch())
        return self._client_gone

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
