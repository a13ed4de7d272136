"""`perron worker` as real processes."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter

import pytest
from tests.worker.hall import Hall, until

from perron.errors import WorkerNotFoundError


async def test_two_workers_do_what_others_have_put_in_line_each_thing_once(hall: Hall) -> None:
    await asyncio.gather(hall.start_ready("--concurrency", "2"), hall.start_ready("--concurrency", "2"))

    run_ids = [await hall.submit(f"run{i}") for i in range(20)]
    runs = [await hall.platform.join(run_id) for run_id in run_ids]

    assert {run.status for run in runs} == {"success"}
    assert hall.written() == Counter(f"run{i} {node}" for i in range(20) for node in ("first", "second"))
    assert len({line.split()[2] for line in hall.ledger.read_text().splitlines()}) == 2


async def test_a_worker_that_is_told_to_stop_gives_its_run_back_uncounted(hall: Hall) -> None:
    leaving = await hall.start_ready()
    run_id = await hall.submit("run", is_gated=True)
    await until(lambda: hall.is_written("run first"))

    leaving.process.send_signal(signal.SIGTERM)

    async def is_draining() -> bool:
        return (await leaving.get("/ready")).text == "draining\n"

    await until(is_draining)
    hall.gate.touch()
    assert await leaving.ended() == 0
    run = await hall.platform.runs.get(hall.platform.caller, run_id)
    assert (run.status, run.attempt) == ("pending", 0)
    await hall.start_ready()

    assert (await hall.platform.join(run_id)).status == "success"
    assert hall.written() == {"run first": 1, "run second": 1}


async def test_a_worker_that_is_killed_is_succeeded_when_its_lease_is_out(hall: Hall) -> None:
    dying = await hall.start_ready()
    run_id = await hall.submit("run", is_gated=True)
    await until(lambda: hall.is_written("run first"))

    dying.process.kill()
    await hall.start_ready()
    hall.gate.touch()

    assert (await hall.platform.join(run_id)).status == "success"
    assert hall.written() == {"run first": 2, "run second": 1}


async def test_what_a_worker_executes_is_shown(hall: Hall) -> None:
    await hall.start_ready()
    run_id = await hall.submit("run", is_gated=True)
    await until(lambda: hall.is_written("run first"))
    [(row, _)] = await hall.platform.workers.get_all(hall.platform.caller)

    worker, is_alive, runs = await hall.platform.workers.get(hall.platform.caller, row.worker_id)

    assert (worker.worker_id, is_alive, [run.run_id for run in runs]) == (row.worker_id, True, [run_id])
    with pytest.raises(WorkerNotFoundError, match="perron workers list"):
        await hall.platform.workers.get(hall.platform.caller, run_id)


async def test_health_is_told_to_probes_and_prometheus(hall: Hall) -> None:
    worker = await hall.start_ready("--concurrency", "3")

    await hall.platform.join(await hall.submit("run"))

    live, metrics = await worker.get("/live"), (await worker.get("/metrics")).text
    assert (live.status_code, live.text) == (200, "ok\n")
    assert (await worker.get("/elsewhere")).status_code == 404
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert values['perron_runs_ended_total{status="success"}'] == "1.0"
    assert values["perron_worker_concurrency"] == "3.0"
    assert values["perron_worker_ready"] == "1.0"
    assert float(values["process_resident_memory_bytes"]) > 0


async def test_an_address_that_is_taken_is_said_so(hall: Hall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = await hall.start("--health", str(taken.getsockname()[1]))

        assert await worker.ended() == 2

    assert "Name another address with --health." in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()


async def test_an_agent_that_is_not_here_is_said_so(hall: Hall) -> None:
    worker = await hall.start("--agents", "worck")

    assert await worker.ended() == 2
    assert "'worck'" in worker.log.read_text()
    assert "work" in worker.log.read_text()


async def test_a_worker_that_grows_too_large_ends(hall: Hall) -> None:
    worker = await hall.start(worker_memory_mb="64")

    assert await worker.ended() == 1
    assert "more than worker_memory_mb (64)" in worker.log.read_text()
    assert await hall.platform.workers.get_all(hall.platform.caller) == []
