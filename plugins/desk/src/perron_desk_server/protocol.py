"""HTTP/1.1 over a connection that a request can cut."""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


class SeverableProtocol(H11Protocol):
    """Puts `sever` into each request's `scope["state"]`: it closes the socket without an answer.

    ASGI has no such message, and an application that returns without an answer makes uvicorn send a 500.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "sever": self.sever}, _loop)

    def sever(self) -> None:
        """Close the socket now, whatever is still to be written."""
        self.transport.abort()
