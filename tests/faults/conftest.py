"""Tests with processes that are killed spend most of their time waiting, so several play at once.

A test under `on_stage` gets a stage of its own. The first one of a file that is awaited starts all of it that were
selected, a few at a time; each test then waits for its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.faults.playing import PLAY, Play
from tests.faults.stage import TOKEN, Stage, until
from tests.soak.ledger import Ledger

from perron.database.url import DatabaseUrl
from perron.testing.database import new_database
from perron_desk_server.process import DeskProcess, start_desk

AT_ONCE = 4
ROOT = Path(__file__).parents[2]


class Company:
    """What all stages of a session share, and what plays on them."""

    def __init__(self, server: DatabaseUrl, template: DatabaseUrl, nursery: Path, directory: Path) -> None:
        self._server = server
        self._template = template
        self._nursery = nursery
        self._directory = directory
        self._desks: asyncio.Queue[DeskProcess] = asyncio.Queue()
        self._plays: dict[str, asyncio.Task[None]] = {}

    def add(self, desk: DeskProcess) -> None:
        self._desks.put_nowait(desk)

    async def play(self, item: pytest.Function) -> None:
        """Wait for a test's play; the first call starts all of its file."""
        if item.nodeid not in self._plays:
            for each in item.session.items:
                if each.path != item.path:  # with pytest-xdist another process may have that file
                    continue
                play = getattr(getattr(each, "function", None), PLAY, None)
                if play is not None and each.nodeid not in self._plays:
                    arguments = each.callspec.params if hasattr(each, "callspec") else {}
                    self._plays[each.nodeid] = asyncio.create_task(self._play(play, arguments), name=each.nodeid)
        await self._plays[item.nodeid]

    async def close(self) -> None:
        for play in self._plays.values():
            play.cancel()
        await asyncio.gather(*self._plays.values(), return_exceptions=True)

    async def _play(self, play: Play, arguments: dict[str, Any]) -> None:
        desk = await self._desks.get()
        try:
            async with self._stage(desk) as stage:
                await play(stage, **arguments)
        finally:
            self._desks.put_nowait(desk)

    @asynccontextmanager
    async def _stage(self, desk: DeskProcess) -> AsyncIterator[Stage]:
        await desk.aio.reset()
        with ExitStack() as stack:
            made = new_database(self._server, template=self._template)
            url = await asyncio.to_thread(stack.enter_context, made)
            stage = Stage(url.full, desk, self._nursery, self._directory)
            try:
                yield stage
            finally:
                await stage.close()


@contextmanager
def _nursery(socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "tests.faults.victim", str(socket)], cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
async def company(
    postgres_server: DatabaseUrl, upgraded_template: DatabaseUrl, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Company]:
    """The desks, the nursery of processes, and the plays."""
    directory = tmp_path_factory.mktemp("faults")
    with ExitStack() as stack:
        # The path of a socket has little room: pytest's directories are too deep.
        socket = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perron-"))) / "nursery"
        nursery = stack.enter_context(_nursery(socket))
        company = Company(postgres_server, upgraded_template, socket, directory)
        starting = [
            asyncio.to_thread(start_desk, directory / f"desk-{n}.sqlite", token=TOKEN) for n in range(AT_ONCE)
        ]
        for started in asyncio.as_completed(starting):
            company.add(stack.enter_context(await started))

        async def is_ready() -> bool:
            assert nursery.poll() is None, "the nursery has ended"
            return socket.exists()

        await until(is_ready, what="the nursery is ready")
        try:
            yield company
        finally:
            await company.close()


@pytest.fixture
async def ledger(empty_database: str) -> AsyncIterator[Ledger]:
    """A ledger of nodes in a database of its own."""
    async with Ledger.open(empty_database) as ledger:
        yield ledger
