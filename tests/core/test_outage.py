"""Runs while the database goes away and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from langgraph.config import get_store
from tests.conftest import Deployment, State, chain, until
from tests.proxy import Proxy

from perron import AskPerson, effect
from perron.core.platform import Platform
from perron.core.upgrade import upgrade_database
from perron.database.embedded import EmbeddedServer
from perron.database.embedded.cluster import Cluster
from perron.database.outage import outlast
from perron.database.url import DatabaseUrl
from perron.runtime.execution import Execution


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


async def test_a_run_goes_on_when_the_database_is_back(deployment: Deployment, proxy: Proxy) -> None:
    counts = Counter[str]()

    async def before(state: State) -> State:
        counts["before"] += 1
        return {"log": ["before"]}

    async def lose(state: State) -> State:
        counts["lose"] += 1
        if counts["lose"] == 1:
            await proxy.close()
        return {"log": ["lose"]}

    platform = await deployment.open(chain(before, lose), database_url=proxy.url, lease_s=10, answer_timeout_s=1.5)
    running = asyncio.create_task(platform.run("agent", {"text": ""}))
    await until(lambda: counts["lose"] == 1 and all(e.has_stopped for e in executions(platform)))
    await proxy.open()
    run = await running

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


charged: list[str] = []


@effect("outage.charge", repeat=AskPerson)
async def charge(text: str) -> str:
    """Take money."""
    charged.append(text)
    return f"charged {text}"


@pytest.mark.parametrize(
    ("is_taken_over", "come_back"), [(True, Proxy.flow), (True, Proxy.forget), (False, Proxy.forget)]
)
async def test_a_worker_behind_a_network_that_hangs_stops_its_run_which_goes_on_once(
    deployment: Deployment, proxy: Proxy, is_taken_over: bool, come_back: Callable[[Proxy], None]
) -> None:
    charged.clear()
    reached, stopped, starts = asyncio.Event(), asyncio.Event(), Counter[str]()

    async def pay(state: State) -> State:
        starts["pay"] += 1
        said = await charge(state["text"])
        if starts["pay"] == 1:
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
        return {"log": [said]}

    cut_off = await deployment.open(chain(pay), database_url=proxy.url, answer_timeout_s=1.5)
    run_id = await cut_off.submit("agent", {"text": "ann"})
    await reached.wait()

    proxy.hang()
    async with asyncio.timeout(20):
        await stopped.wait()
    assert cut_off._worker is not None
    assert cut_off._worker.worker_id is None
    if is_taken_over:
        other = await deployment.open(chain(pay))
        await other.join(run_id)
    come_back(proxy)
    async with asyncio.timeout(20):
        # A caller may still meet a connection that stays silent.
        run = await outlast(partial(cut_off.join, run_id), pause_s=0.05)
        bob = partial(cut_off.run, "agent", {"text": "bob"}, idempotency_key="bob")
        again = await outlast(bob, pause_s=0.05)

    assert (run.status, run.output["log"]) == ("success", ["charged ann"])
    assert (again.status, again.output["log"]) == ("success", ["charged bob"])
    assert (charged, starts["pay"]) == (["ann", "bob"], 3)
    [row] = await deployment.sql("SELECT attempt FROM perron.runs WHERE run_id = %s", run_id)
    assert row == {"attempt": 2 if is_taken_over else 1}  # to another, it might as well have died


async def test_a_run_whose_checkpoint_gets_no_answer_goes_on_when_the_network_is_back(
    deployment: Deployment, proxy: Proxy
) -> None:
    starts = Counter[str]()

    async def lose(state: State) -> State:
        starts["lose"] += 1
        if starts["lose"] == 1:
            proxy.hang()
        return {"log": ["lose"]}

    platform = await deployment.open(chain(lose), database_url=proxy.url, lease_s=10, answer_timeout_s=1.5)
    running = asyncio.create_task(platform.run("agent", {"text": ""}))
    # Nothing but the missing answer tells the worker to stop: its lease is held.
    await until(lambda: starts["lose"] == 1 and all(e.has_stopped for e in executions(platform)))
    proxy.flow()
    run = await running

    assert (run.status, run.output["log"]) == ("success", ["lose"])
    assert await deployment.sql("SELECT attempt FROM perron.runs") == [{"attempt": 1}]


async def test_an_outage_that_only_the_store_meets_fails_no_run(deployment: Deployment) -> None:
    starts = Counter[str]()

    async def remember(state: State) -> State:
        starts["remember"] += 1
        await get_store().aput(("people",), "ann", {"name": "Ann"})
        return {"log": ["remembered"]}

    platform = await deployment.open(chain(remember))

    async with deployment.connect() as blocking, blocking.transaction():
        await blocking.execute("LOCK TABLE langgraph.store IN EXCLUSIVE MODE")
        running = asyncio.create_task(platform.run("agent", {"text": ""}))
        while not await deployment.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%%store%%'"
        ):
            pass
    run = await running

    assert (run.status, run.output["log"], starts["remember"]) == ("success", ["remembered"], 2)
    assert await deployment.sql("SELECT attempt FROM perron.runs") == [{"attempt": 1}]


async def test_runs_outlive_a_crash_of_the_server(tmp_path: Path) -> None:
    charged.clear()
    starts = Counter[str]()
    together = asyncio.Barrier(4)

    async def pay(state: State) -> State:
        starts["pay"] += 1
        return {"log": [await charge(state["text"])]}

    async def crash(state: State) -> State:
        starts["crash"] += 1
        if starts["crash"] <= together.parties:
            await together.wait()
        if state["text"] == "0" and cluster.is_alive() and not crashed.is_set():
            os.kill(int((home / "data/postmaster.pid").read_text().splitlines()[0]), signal.SIGQUIT)
            await until(lambda: not cluster.is_alive())
            proxy.lead_to((await asyncio.to_thread(cluster.start)).full)
            crashed.set()
        await crashed.wait()
        return {"log": ["crashed"]}

    home, crashed = tmp_path / "postgres", asyncio.Event()
    cluster = Cluster(home)
    async with EmbeddedServer.open(tmp_path) as url:
        await upgrade_database(DatabaseUrl.parse(url))
        proxy = Proxy(url)
        await proxy.open()
        deployment = Deployment(proxy.url, tmp_path)
        try:
            platform = await deployment.open(chain(pay, crash), lease_s=20)

            runs = await asyncio.gather(*(platform.run("agent", {"text": str(i)}) for i in range(4)))

            assert [(run.status, run.output["log"]) for run in runs] == [
                ("success", [f"charged {i}", "crashed"]) for i in range(4)
            ]
            assert (sorted(charged), starts["pay"]) == (["0", "1", "2", "3"], 4)
            rows = await deployment.sql("SELECT status, attempt FROM perron.runs")
            assert rows == [{"status": "success", "attempt": 1}] * 4
            ends = await deployment.sql("SELECT run_id FROM perron.run_events WHERE event = 'end'")
            assert {row["run_id"] for row in ends} == {run.run_id for run in runs}
            assert len(ends) == len(runs)
        finally:
            await deployment.close()
            await proxy.close()


def executions(platform: Platform) -> list[Execution]:
    assert platform._worker is not None
    return list(platform._worker._executions.values())
