"""The uvicorn server that runs the desk and says when it is ready."""

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from perron_desk_server.protocol import SeverableProtocol
from perron_desk_server.waiting import WaitingRoom


class DeskServer(uvicorn.Server):
    """Serves on one listening socket; when told to end it sends away who is held."""

    def __init__(self, app: ASGIApp, *, room: WaitingRoom, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=SeverableProtocol,
                loop="asyncio",
                lifespan="off",
                log_level="error",
                access_log=False,
                # Longer than clients keep idle connections (httpx: 5 s). Were the server the first to close one,
                # a request might go out on it at that moment.
                timeout_keep_alive=75,
                timeout_graceful_shutdown=2,
            )
        )
        self._room = room
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then say so."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; requests that wait because of a fault are cut off."""
        self._room.close()
        await super().shutdown(sockets)
