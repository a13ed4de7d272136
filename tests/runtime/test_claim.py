"""Which runs a worker may take, and from whom."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest
from tests.runtime.conftest import Rows, put_checkpoint, waits_for_a_lock

from perron import clock
from perron.caller import Caller
from perron.ids import RunId, ThreadId, process_of
from perron.models.worker import Worker
from perron.repositories.run import RunRepository
from perron.runtime.claim import claim, release


async def find_due(rows: Rows, *, agents: tuple[str, ...] = ("agent",)) -> list[RunId]:
    async with rows.database.begin() as session:
        found = await RunRepository(session, Caller.system()).find_due(agents=agents, limit=100)
    return [RunId(run_id) for run_id, _ in found]


async def find_stranded(rows: Rows) -> list[RunId]:
    async with rows.database.begin() as session:
        found = await RunRepository(session, Caller.system()).find_stranded(agents=["agent"], limit=100)
    return [RunId(run_id) for run_id, _, _ in found]


async def test_a_claimed_run_is_running_under_the_next_epoch(rows: Rows) -> None:
    run_id = await rows.make_run(owner="ann", tenant="bank", kwargs={"input": 1}, metadata_={"a": 1})
    worker_id = await rows.make_worker()

    run = await rows.claim(run_id, worker_id)

    assert run is not None
    assert (run.epoch, run.attempt, run.worker_id, run.is_takeover) == (1, 1, worker_id, False)
    assert (run.owner, run.kwargs, run.metadata) == (Caller("ann", "bank"), {"input": 1}, {"a": 1})
    stored = await rows.get_run(run_id)
    assert (stored.status, stored.epoch, stored.worker_id) == ("running", 1, worker_id)
    assert stored.started_at is not None


async def test_only_the_head_of_a_threads_line_is_claimed(rows: Rows) -> None:
    thread_id = await rows.make_thread()
    runs = [await rows.make_run(thread_id) for _ in range(3)]
    order = []

    for _ in runs:
        claimed = [run for run in [await rows.claim(run_id) for run_id in reversed(runs)] if run is not None]
        assert len(claimed) == 1
        assert await find_due(rows) == []
        order.append(claimed[0].run_id)
        async with rows.database.begin() as session:
            await RunRepository(session, Caller.system()).end(claimed[0].run_id, epoch=1, status="success")

    assert order == runs
    assert await rows.claim(runs[0]) is None


async def test_only_heads_that_are_due_and_that_a_worker_can_run_are_found(rows: Rows) -> None:
    thread_id = await rows.make_thread()
    head = await rows.make_run(thread_id)
    await rows.make_run(thread_id)
    await rows.make_run(not_before=clock.now() + timedelta(hours=1))
    past = await rows.make_run(not_before=clock.now() - timedelta(hours=1))
    await rows.make_run(graph_id="another")
    urgent = await rows.make_run(priority=3)
    await rows.make_run(status="success")

    assert await find_due(rows) == [urgent, head, past]


async def test_a_run_is_not_claimed_before_its_time(rows: Rows) -> None:
    later = await rows.make_run(not_before=clock.now() + timedelta(hours=1))

    assert await rows.claim(later) is None
    assert (await rows.get_run(later)).status == "pending"


async def test_a_run_of_a_live_worker_is_not_taken(rows: Rows) -> None:
    run = await rows.claimed()

    assert await rows.claim(run.run_id) is None
    assert await find_stranded(rows) == []


async def test_a_run_of_a_dead_worker_is_taken_and_the_worker_buried(rows: Rows) -> None:
    run = await rows.claimed()

    again = await rows.claimed_again(run)

    assert (again.epoch, again.is_takeover) == (2, True)
    async with rows.database.begin() as session:
        assert await session.get(Worker, run.worker_id) is None
        assert await session.get(Worker, again.worker_id) is not None


async def test_a_run_of_a_dead_worker_is_found_apart_from_those_that_are_due(rows: Rows) -> None:
    dead = await rows.make_worker(beat_age_s=60)
    orphan = await rows.make_run(status="running", epoch=1, worker_id=dead)

    assert await find_stranded(rows) == [orphan]
    assert await find_due(rows) == []


async def test_a_worker_that_beats_during_the_claim_keeps_its_run(rows: Rows) -> None:
    dead = await rows.make_worker(beat_age_s=60)
    run_id = await rows.make_run(status="running", epoch=1, worker_id=dead)

    async with rows.database.begin() as session:
        worker = await session.get_one(Worker, dead)
        worker.beat_at = clock.now()
        await session.flush()
        claiming = asyncio.create_task(rows.claim(run_id))
        await waits_for_a_lock(rows, claiming)

    assert await claiming is None
    assert (await rows.get_run(run_id)).epoch == 1


async def test_attempts_count_claims_without_a_new_checkpoint(rows: Rows) -> None:
    thread_id = await rows.make_thread()
    await put_checkpoint(rows, thread_id, "1f00")  # of an earlier run: no progress of this one
    run = await rows.claimed(thread_id=thread_id)
    attempts = [run.attempt]

    for _ in range(3):
        run = await rows.claimed_again(run)
        attempts.append(run.attempt)

    assert attempts == [1, 2, 3, 4]


async def test_a_new_checkpoint_begins_the_count_anew(rows: Rows) -> None:
    run = await rows.claimed()
    run = await rows.claimed_again(run)
    assert run.attempt == 2

    await put_checkpoint(rows, run.thread_id, "1f00")
    run = await rows.claimed_again(run)
    assert run.attempt == 1

    run = await rows.claimed_again(run)
    assert run.attempt == 2


async def test_a_run_that_was_given_back_has_lost_no_attempt(rows: Rows) -> None:
    run = await rows.claimed()

    assert await release(rows.database, run)
    given_back = await rows.get_run(run.run_id)
    again = await rows.claim(run.run_id)

    assert (given_back.status, given_back.worker_id, given_back.attempt) == ("pending", None, 0)
    assert again is not None
    assert (again.epoch, again.attempt, again.is_takeover) == (2, 1, False)
    assert again.started_at == run.started_at
    assert not await release(rows.database, run)


async def test_a_worker_never_takes_its_own_run(rows: Rows) -> None:
    dead = await rows.make_worker(beat_age_s=60)
    run_id = await rows.make_run(status="running", epoch=1, worker_id=dead)

    assert await rows.claim(run_id, dead) is None


async def test_of_many_claims_at_once_one_wins(rows: Rows) -> None:
    run_id = await rows.make_run()

    claims = await asyncio.gather(*(rows.claim(run_id) for _ in range(8)))

    assert len([run for run in claims if run is not None]) == 1
    assert (await rows.get_run(run_id)).epoch == 1


@pytest.mark.parametrize("tenant", ["default", "bank"])
async def test_a_dead_worker_that_holds_the_row_loses_its_connection(
    rows: Rows, database_url: str, tenant: str
) -> None:
    dead = await rows.make_worker(beat_age_s=60)
    run_id = await rows.make_run(tenant=tenant, status="running", epoch=1, worker_id=dead)

    with psycopg.connect(database_url, application_name=f"perron {process_of(dead)}") as stopped:
        stopped.execute("SELECT perron.fence(%s, 1)", [run_id])
        assert await rows.claim(run_id) is None
        with pytest.raises(psycopg.OperationalError):
            stopped.execute("SELECT 1")

    run = await rows.claim(run_id)
    assert run is not None
    assert run.epoch == 2


async def test_a_live_worker_that_holds_the_row_keeps_its_connection(rows: Rows, database_url: str) -> None:
    live = await rows.make_worker()
    run_id = await rows.make_run(status="running", epoch=1, worker_id=live)

    with psycopg.connect(database_url, application_name=f"perron {process_of(live)}") as busy:
        busy.execute("SELECT perron.fence(%s, 1)", [run_id])
        assert await rows.claim(run_id) is None
        assert busy.execute("SELECT 1").fetchone() == (1,)


async def test_a_run_that_is_gone_is_not_claimed(rows: Rows) -> None:
    run = await rows.claimed()
    async with rows.database.begin() as session:
        await RunRepository(session, Caller.system()).delete(run.run_id)

    gone = await claim(rows.database, run.run_id, ThreadId(run.thread_id), worker_id=run.worker_id)
    assert gone is None
