"""A site: a database that can be broken, workers on it each behind a network of its own, and the ledger."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, dict_row
from tests.conftest import KEY
from tests.proxy import Proxy
from tests.soak.graphs import work
from tests.soak.ledger import URL_VARIABLE, WORKER_VARIABLE, Kill, Ledger
from tests.soak.process import Cradle, PerronProcess

from perron.core.platform import Platform
from perron.database.embedded.cluster import Cluster
from perron.plugins.agent import Agent

CONFIG = Path(__file__).with_name("langgraph.json")
_PATIENCE_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How long things take, in seconds."""

    lease_s: float = 10.0
    beat_s: float = 2.0
    poll_s: float = 1.0
    node_s: float = 0.4
    outages_s: tuple[float, ...] = (1.0, 10.0, 45.0)

    @property
    def block_s(self) -> float:
        """How long a node blocks its loop: several leases."""
        return 6 * self.lease_s

    @property
    def freeze_s(self) -> float:
        """How long a process is frozen or cut off: until it was taken for dead."""
        return 1.6 * self.lease_s

    @property
    def settings(self) -> dict[str, str]:
        names = ("lease_s", "beat_s", "poll_s")
        return {f"PERRON_{name.upper()}": str(getattr(self, name)) for name in names}


@dataclass(eq=False, slots=True)
class Worker:
    """A `perron worker`, and the network between it and the database."""

    number: int
    process: PerronProcess
    proxy: Proxy
    log: Path


@dataclass(slots=True)
class Site:
    """What faults act on."""

    url: str
    """Of the database, past all proxies; another one after a crash."""
    directory: Path
    ledger: Ledger
    scale: Scale
    cradle: Cradle
    proxy: Proxy
    """The client's network."""
    platform: Platform = field(init=False)
    """The client: it puts runs in line and reads."""
    cluster: Path | None = None
    """Home of the server, where it is ours to crash."""
    workers: list[Worker] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    _started: int = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        directory: Path,
        ledger: Ledger,
        cradle: Cradle,
        scale: Scale,
        *,
        cluster: Path | None = None,
    ) -> AsyncIterator[Site]:
        """Open a site without workers on an upgraded database; at the end none of its workers lives."""
        proxy = Proxy(url)
        await proxy.open()
        site = cls(url, directory, ledger, scale, cradle, proxy, cluster=cluster)
        settings: dict[str, Any] = {"database_url": proxy.url, "plugins": "none", "key": KEY, "home": directory}
        try:
            async with Platform.open(
                worker=False, agents=[Agent("work", work)], poll_s=scale.poll_s, answer_timeout_s=20.0, **settings
            ) as platform:
                site.platform = platform
                try:
                    yield site
                finally:
                    for worker in site.workers:
                        worker.process.kill()
                        await worker.proxy.close()
        finally:
            await proxy.close()

    async def start_worker(self, *, failpoints: str = "", clock_ahead_s: float = 0, **settings: str) -> Worker:
        """Start a worker; it takes a moment until it works."""
        self._started += 1
        log, proxy = self.directory / f"worker-{self._started}.log", Proxy(self.url)
        await proxy.open()
        environment = {
            "PERRON_DATABASE_URL": proxy.url,
            "PERRON_KEY": KEY,
            "PERRON_HOME": str(self.directory),
            "PERRON_LANGGRAPH_JSON": str(CONFIG),
            "PERRON_PLUGINS": "none",
            "PERRON_LOG_JSON": "true",
            "PERRON_ANSWER_TIMEOUT_S": "20",
            "PERRON_FAILPOINTS": failpoints,
            URL_VARIABLE: self.ledger.url,
            WORKER_VARIABLE: str(self._started),
            **self.scale.settings,
            **{f"PERRON_{name.upper()}": value for name, value in settings.items()},
        }
        process = await self.cradle.start("worker", environment=environment, log=log, clock_ahead_s=clock_ahead_s)
        worker = Worker(self._started, process, proxy, log)
        self.workers.append(worker)
        return worker

    async def is_working(self, worker: Worker) -> bool:
        """Whether a worker has registered."""
        assert worker.process.returncode is None, worker.log.read_text()[-4000:]
        return bool(await self.sql("SELECT 1 FROM perron.workers WHERE pid = %s", worker.process.pid))

    async def bury(self, worker: Worker) -> None:
        """Forget a worker that has ended."""
        await worker.process.wait()
        self.workers.remove(worker)
        await worker.proxy.close()

    async def kill(self, worker: Worker) -> Kill:
        """End a worker as an out-of-memory killer would."""
        at = await self.ledger.note(worker.number, "kill")
        worker.process.kill()
        await self.bury(worker)
        kill = Kill(at, worker.number, await self.ledger.in_hand(worker.number))
        self.kills.append(kill)
        return kill

    async def freeze(self, worker: Worker) -> None:
        """Stop a worker where it stands, as a suspended machine would."""
        await self.ledger.note(worker.number, "freeze")
        worker.process.send_signal(signal.SIGSTOP)

    def thaw(self, worker: Worker) -> None:
        worker.process.send_signal(signal.SIGCONT)

    async def recovered(self, *kills: Kill) -> None:
        """Wait until each run that was in the hand of the dead has ended a node since, or has ended."""
        for kill in kills:
            for run_id in kill.run_ids:

                async def goes_on(run_id: UUID = run_id, kill: Kill = kill) -> bool:
                    if await self.ledger.next_begin(run_id, kill, has_ended=True) is not None:
                        return True
                    active = "SELECT 1 FROM perron.runs WHERE run_id = %s AND status IN ('pending', 'running')"
                    return not await self.sql(active, run_id)

                await until(goes_on)

    async def recoveries(self) -> list[timedelta]:
        """Return how long after a kill each run that it hit began its next node."""
        took = []
        for kill in self.kills:
            for run_id in kill.run_ids:
                begun_at = await self.ledger.next_begin(run_id, kill)
                if begun_at is not None:
                    took.append(begun_at - kill.at)
        return took

    async def crash(self, down_s: float) -> None:
        """End the database server as `pg_ctl stop -m immediate` does, and start it again after a while."""
        assert self.cluster is not None
        cluster = Cluster(self.cluster)
        postmaster = int((self.cluster / "data/postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGQUIT)

        async def is_down() -> bool:
            return not cluster.is_alive()

        await until(is_down)
        await asyncio.sleep(down_s)
        self.url = (await asyncio.to_thread(cluster.start)).full
        for proxy in (self.proxy, *(worker.proxy for worker in self.workers)):
            proxy.lead_to(self.url)

    async def sql(self, statement: str, *arguments: object) -> list[DictRow]:
        """Run a statement past all of Perron and all proxies, and return its rows."""
        async with await psycopg.AsyncConnection.connect(
            self.url, autocommit=True, row_factory=dict_row
        ) as connection:
            cursor = await connection.execute(statement, arguments or None)
            return await cursor.fetchall() if cursor.description else []


async def until(is_so: Callable[[], Awaitable[bool]], *, patience_s: float = _PATIENCE_S) -> None:
    """Wait for something that only looking can tell."""
    async with asyncio.timeout(patience_s):
        while not await is_so():  # noqa: ASYNC110  # other processes do it
            await asyncio.sleep(0.05)
