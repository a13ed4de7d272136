"""A hall: a database, `perron worker` processes on it, and a ledger of what their nodes do."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from tests.conftest import KEY
from tests.soak.process import Cradle, PerronProcess

from perron.core.platform import Platform

CONFIG = Path(__file__).with_name("langgraph.json")
PERRON = Path(sys.executable).with_name("perron")


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(40):
        while not await is_so():  # noqa: ASYNC110  # another process does it
            await asyncio.sleep(0.02)


class WorkerProcess:
    """A `perron worker`, and the address at which it tells of its health."""

    def __init__(self, process: asyncio.subprocess.Process | PerronProcess, log: Path) -> None:
        self.process = process
        self.log = log
        self._port = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://127.0.0.1:{self._port}{path}")

    async def is_ready(self) -> bool:
        assert self.process.returncode is None, self.log.read_text()
        for line in self.lines():
            if line["event"] == "health_served":
                self._port = line["port"]
        return bool(self._port) and (await self.get("/ready")).status_code == 200

    async def ended(self) -> int:
        async with asyncio.timeout(40):
            return await self.process.wait()


class Hall:
    """A database, the processes that work on it, and a platform that only puts runs in line."""

    def __init__(self, url: str, directory: Path, platform: Platform, cradle: Cradle) -> None:
        self.ledger = directory / "ledger"
        self.gate = directory / "gate"
        self.platform = platform
        self._url = url
        self._directory = directory
        self._cradle = cradle
        self._workers: list[WorkerProcess] = []
        self._numbers = count()

    async def start(self, *options: str, **settings: str) -> WorkerProcess:
        log = self._directory / f"{next(self._numbers)}.log"  # taken now: several start at once
        log.touch()
        process = await self._cradle.start("worker", *options, environment=self.environment(**settings), log=log)
        worker = WorkerProcess(process, log)
        self._workers.append(worker)
        return worker

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the environment of a process of the hall."""
        return {
            **os.environ,
            "PERRON_DATABASE_URL": self._url,
            "PERRON_KEY": KEY,
            "PERRON_LANGGRAPH_JSON": str(CONFIG),
            "PERRON_PLUGINS": "none",
            "PERRON_LOG_JSON": "true",
            "PERRON_LEASE_S": "1",
            "PERRON_POLL_S": "0.2",
            **{f"PERRON_{name.upper()}": value for name, value in settings.items()},
        }

    async def start_ready(self, *options: str, **settings: str) -> WorkerProcess:
        worker = await self.start("--health", "0", *options, **settings)
        await until(worker.is_ready)
        return worker

    def open_platform(self) -> AbstractAsyncContextManager[Platform]:
        """Open another platform in this process, which executes runs."""
        return _open_platform(self._url, self._directory, worker=True)

    async def submit(self, name: str, *, agent: str = "work", is_gated: bool = False, **options: Any) -> UUID:
        given = {"name": name, "ledger": str(self.ledger), "gate": str(self.gate) if is_gated else ""}
        return await self.platform.submit(agent, given, **options)

    async def is_written(self, node: str) -> bool:
        return node in self.written()

    def written(self) -> Counter[str]:
        return Counter(self.written_in_order())

    def written_in_order(self) -> list[str]:
        """Return what nodes have written, as "name node" in the order of their writing."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [" ".join(line.split()[:2]) for line in lines]

    async def close(self) -> None:
        for worker in self._workers:
            if worker.process.returncode is None:
                worker.process.kill()
                await worker.process.wait()


@asynccontextmanager
async def open_hall(database_url: str, directory: Path, cradle: Cradle) -> AsyncIterator[Hall]:
    """Open a hall without workers; those that a test starts are ended with it."""
    async with _open_platform(database_url, directory, worker=False) as platform:
        hall = Hall(database_url, directory, platform, cradle)
        try:
            yield hall
        finally:
            await hall.close()


def _open_platform(database_url: str, home: Path, *, worker: bool) -> AbstractAsyncContextManager[Platform]:
    settings: dict[str, Any] = {"database_url": database_url, "plugins": "none", "key": KEY, "home": home}
    return Platform.open(worker=worker, langgraph_json=CONFIG, poll_s=0.05, **settings)
