"""Runs while the database goes away and comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.conftest import Deployment, State, chain


async def cut_all_connections(deployment: Deployment) -> None:
    await deployment.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def test_a_run_outlives_the_end_of_all_connections(deployment: Deployment) -> None:
    counts = Counter[str]()

    async def cut(state: State) -> State:
        counts["cut"] += 1
        await cut_all_connections(deployment)
        return {"log": ["cut"]}

    async def after(state: State) -> State:
        counts["after"] += 1
        return {"log": ["after"]}

    platform = await deployment.open(chain(cut, after))

    run = await platform.run("agent", {"text": ""}, stream_mode=["updates"])

    assert (run.status, run.output["log"]) == ("success", ["cut", "after"])
    [row] = await deployment.sql("SELECT attempt, status FROM perron.runs")
    assert row == {"attempt": 1, "status": "success"}
    events = await deployment.sql("SELECT epoch, n FROM perron.run_events ORDER BY epoch, n")
    for epoch in {event["epoch"] for event in events}:
        numbers = [event["n"] for event in events if event["epoch"] == epoch]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_many_runs_outlive_the_end_of_all_connections(deployment: Deployment) -> None:
    reached = asyncio.Barrier(9)

    async def first(state: State) -> State:
        if state["text"] not in met:
            met.add(state["text"])
            await reached.wait()
        return {"log": ["first"]}

    async def second(state: State) -> State:
        return {"log": ["second"]}

    met: set[str] = set()
    platform = await deployment.open(chain(first, second))
    runs = [asyncio.create_task(platform.run("agent", {"text": str(i)})) for i in range(8)]
    await reached.wait()
    for _ in range(3):
        await cut_all_connections(deployment)

    results = await asyncio.gather(*runs)

    assert {run.status for run in results} == {"success"}
    assert all(run.output["log"] == ["first", "second"] for run in results)
    assert await deployment.sql("SELECT 1 FROM perron.runs WHERE attempt <> 1") == []


async def test_the_beat_finds_another_connection(deployment: Deployment) -> None:
    platform = await deployment.open()
    [before] = await deployment.sql("SELECT worker_id, beat_at FROM perron.workers")

    await deployment.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'perron beat%%'"
        " AND datname = current_database()"
    )

    async with asyncio.timeout(10):
        while True:
            [after] = await deployment.sql(
                "SELECT worker_id, beat_at, clock_timestamp() AS now FROM perron.workers"
            )
            if after["beat_at"] > before["beat_at"] and platform._worker and platform._worker.worker_id:
                break
    assert after["worker_id"] == before["worker_id"]


class Proxy:
    """A way to the database that a test can close and open."""

    def __init__(self, url: str) -> None:
        info = conninfo_to_dict(url)
        self._socket = f"{info['host']}/.s.PGSQL.{info['port']}"
        self._database = info["dbname"]
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{self._database}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut all connections and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        if self._server is None or not self._server.is_serving():  # closed meanwhile
            writer.transport.abort()
            far_writer.transport.abort()
            return
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
        finally:
            self._open.discard(writer)
            writer.transport.abort()


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    if not str(conninfo_to_dict(database_url).get("host")).startswith("/"):
        pytest.skip("the server has no socket to stand before")
    proxy = Proxy(database_url)
    await proxy.open()
    yield proxy
    await proxy.close()


async def test_a_run_goes_on_when_the_database_is_back(deployment: Deployment, proxy: Proxy) -> None:
    counts = Counter[str]()

    async def before(state: State) -> State:
        counts["before"] += 1
        return {"log": ["before"]}

    async def lose(state: State) -> State:
        counts["lose"] += 1
        if counts["lose"] == 1:
            await proxy.close()
            reopening.append(asyncio.create_task(reopen()))
        return {"log": ["lose"]}

    async def reopen() -> None:
        await asyncio.sleep(0.7)
        await proxy.open()

    reopening: list[asyncio.Task[None]] = []
    platform = await deployment.open(chain(before, lose), database_url=proxy.url, lease_s=5)

    run = await platform.run("agent", {"text": ""})

    assert (run.status, run.output["log"]) == ("success", ["before", "lose"])
    assert counts["before"] == 1
    [row] = await deployment.sql("SELECT attempt FROM perron.runs")
    assert row == {"attempt": 1}


async def test_a_run_is_lost_to_its_worker_when_the_database_is_away_for_longer_than_the_lease(
    deployment: Deployment, proxy: Proxy
) -> None:
    starts, reached = 0, asyncio.Event()

    async def hold(state: State) -> State:
        nonlocal starts
        starts += 1
        if starts == 1:
            reached.set()
            await asyncio.Event().wait()
        return {"log": [f"start {starts}"]}

    cut_off = await deployment.open(chain(hold), database_url=proxy.url)
    run_id = await cut_off.submit("agent", {"text": ""})
    await reached.wait()
    await proxy.close()
    other = await deployment.open(chain(hold))

    run = await other.join(run_id)
    await proxy.open()

    assert run.output["log"] == ["start 2"]
    assert (await cut_off.join(run_id)).output == run.output
