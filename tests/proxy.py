"""A network between a platform and its database, for tests to break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from psycopg.conninfo import conninfo_to_dict


class Proxy:
    """A way to the database at `url`, which is on a socket file, that a test can close, hang and open again."""

    def __init__(self, url: str) -> None:
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._port = 0
        self._flows = _flowing()
        self._forgotten: list[asyncio.Event] = []
        self.delay_s = 0.0
        """How long each packet takes."""
        self.lead_to(url)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{self._database}"

    def lead_to(self, url: str) -> None:
        """Take new connections to another server, such as the same one with a new socket."""
        info = conninfo_to_dict(url)
        self._socket = f"{info['host']}/.s.PGSQL.{info['port']}"
        self._database = info["dbname"]

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut all connections and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        for flows in (self._flows, *self._forgotten):
            flows.set()
        await self._server.wait_closed()

    def hang(self) -> None:
        """Take everything and pass nothing on, in both directions: no answer, no reset, no refusal."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on again, at first what came while it hung."""
        self._flows.set()

    def forget(self) -> None:
        """Stay silent on all connections that there are, and pass on what comes on new ones."""
        self.hang()
        self._forgotten.append(self._flows)
        self._flows = _flowing()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        except OSError:  # there is no server
            writer.transport.abort()
            return
        if self._server is None or not self._server.is_serving():  # closed meanwhile
            writer.transport.abort()
            far_writer.transport.abort()
            return
        flows = self._flows
        await asyncio.gather(self._pump(reader, far_writer, flows), self._pump(far_reader, writer, flows))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    await flows.wait()
                    if self.delay_s:
                        await asyncio.sleep(self.delay_s)
                    writer.write(data)
                    await writer.drain()
        finally:
            self._open.discard(writer)
            writer.transport.abort()


def _flowing() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A way to the test's database that the test can break."""
    if not str(conninfo_to_dict(database_url).get("host")).startswith("/"):
        pytest.skip("the server has no socket to stand before")
    proxy = Proxy(database_url)
    await proxy.open()
    yield proxy
    await proxy.close()
