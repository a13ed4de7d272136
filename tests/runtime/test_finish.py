"""Ends of runs: what becomes of the run, its thread, its asks and its events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import Rows

from perron.ids import new_id
from perron.integrations.run.open_ask import OpenAsk
from perron.models.thread import Thread
from perron.runtime.claim import ClaimedRun
from perron.runtime.finish import Outcome, finish


async def end(rows: Rows, run: ClaimedRun, outcome: Outcome, *, last_n: int = 0, events: Any = ()) -> bool:
    async with rows.pool.connection() as connection:
        return await finish(connection, run, outcome, schema="perron", events=list(events), last_n=last_n)


async def get_thread(rows: Rows, run: ClaimedRun) -> Thread:
    async with rows.database.begin() as session:
        return await session.get_one(Thread, run.thread_id)


async def table(rows: Rows, query: str) -> list[Any]:
    async with rows.pool.connection() as connection:
        return [tuple(row.values()) for row in await (await connection.execute(query)).fetchall()]


def ask(interrupt_id: str, **fields: Any) -> OpenAsk:
    values = {"kind": "interrupt", "question": "really?", "arguments": None, "decisions": ("respond",), **fields}
    return OpenAsk(interrupt_id=interrupt_id, **values)


@pytest.mark.parametrize(
    ("outcome", "thread_status"),
    [
        (Outcome(status="success"), "idle"),
        (Outcome(status="success", has_next=True), "interrupted"),
        (Outcome(status="interrupted", has_next=True), "interrupted"),
        (Outcome(status="error", error={"error": "E", "message": "m"}), "error"),
        (Outcome(status="timeout", error={"error": "E", "message": "m"}), "error"),
    ],
)
async def test_the_thread_shows_how_its_last_run_ended(rows: Rows, outcome: Outcome, thread_status: str) -> None:
    run = await rows.claimed()

    assert await end(rows, run, outcome)

    stored, thread = await rows.get_run(run.run_id), await get_thread(rows, run)
    assert (stored.status, stored.error) == (outcome.status, outcome.error)
    assert stored.finished_at is not None
    assert (thread.status, thread.error) == (thread_status, outcome.error)


async def test_a_thread_with_a_next_run_stays_busy(rows: Rows) -> None:
    run = await rows.claimed()
    await rows.make_run(run.thread_id)
    outcome = Outcome(status="success", values={"n": 1})

    await end(rows, run, outcome)

    thread = await get_thread(rows, run)
    assert (thread.status, thread.values) == ("busy", {"n": 1})


async def test_an_outcome_without_values_leaves_the_threads(rows: Rows) -> None:
    thread_id = await rows.make_thread(values={"n": 1})
    run = await rows.claimed(thread_id=thread_id)

    await end(rows, run, Outcome(status="error", error={"error": "E", "message": "m"}))

    assert (await get_thread(rows, run)).values == {"n": 1}


async def test_a_zombie_ends_nothing(rows: Rows) -> None:
    run = await rows.claimed()
    await rows.claimed_again(run)

    assert not await end(rows, run, Outcome(status="success", output=1))

    stored = await rows.get_run(run.run_id)
    assert (stored.status, stored.epoch, stored.output) == ("running", 2, None)
    assert await table(rows, "SELECT 1 FROM perron.run_events") == []


async def test_a_run_ends_once(rows: Rows) -> None:
    run = await rows.claimed()

    ends = await asyncio.gather(*(end(rows, run, Outcome(status="success", output=i)) for i in range(4)))

    assert sorted(ends) == [False, False, False, True]
    assert await table(rows, "SELECT n, event FROM perron.run_events") == [(1, "end")]


async def test_the_last_events_follow_those_that_stand(rows: Rows) -> None:
    run = await rows.claimed()
    error = {"error": "E", "message": "m"}

    await end(rows, run, Outcome(status="error", error=error), last_n=7, events=[("updates", "sub:1", {"a": 1})])

    events = await table(rows, "SELECT n, n_first, event, namespace, payload FROM perron.run_events ORDER BY n")
    assert events == [
        (8, 8, "updates", "sub:1", {"a": 1}),
        (9, 9, "error", "", error),
        (10, 10, "end", "", {"run_id": str(run.run_id), "status": "error"}),
    ]


@pytest.mark.parametrize("value", ["\x00", "\ud800", float("nan"), object(), {1: {"\x00": 2**70}}])
async def test_no_data_keeps_a_run_from_ending(rows: Rows, value: Any) -> None:
    run = await rows.claimed()
    outcome = Outcome(
        status="success",
        output=value,
        values={"value": value},
        interrupts={"task": [{"id": "0" * 32, "value": value}]},
        asks=[ask("0" * 32, question=str(value), arguments=value)],
        error={"error": "E", "message": str(value)},
        has_next=True,
    )

    assert await end(rows, run, outcome, events=[("custom", "", value)])

    stored = await rows.get_run(run.run_id)
    assert (stored.status, stored.is_sanitised) == ("success", True)


async def test_asks_are_opened_owned_by_the_last_run_and_dropped(rows: Rows) -> None:
    first = await rows.claimed(owner="ann")
    await end(rows, first, Outcome(status="success", asks=[ask("a" * 32), ask("b" * 32)], has_next=True))
    opened = await table(rows, "SELECT ask_id, interrupt_id, owner FROM perron.asks ORDER BY interrupt_id")
    assert [(row[1][0], row[2]) for row in opened] == [("a", "ann"), ("b", "ann")]

    second = await rows.claimed(thread_id=first.thread_id, owner="ann")
    again = Outcome(status="success", asks=[ask("b" * 32, question="still?"), ask("c" * 32)], has_next=True)
    await end(rows, second, again)

    found = await table(
        rows, "SELECT interrupt_id, state, run_id, question FROM perron.asks ORDER BY interrupt_id"
    )
    assert [(row[0][0], *row[1:]) for row in found] == [
        ("a", "dropped", first.run_id, "really?"),
        ("b", "open", second.run_id, "still?"),
        ("c", "open", second.run_id, "really?"),
    ]


async def test_a_failed_run_leaves_what_waits_beside_it(rows: Rows) -> None:
    first = await rows.claimed()
    shown = {"task": [{"id": "a" * 32, "value": "really?"}]}
    await end(rows, first, Outcome(status="success", asks=[ask("a" * 32)], interrupts=shown, has_next=True))

    second = await rows.claimed(thread_id=first.thread_id)
    await end(rows, second, Outcome(status="error", error={"error": "E", "message": "m"}))

    assert await table(rows, "SELECT state FROM perron.asks") == [("open",)]
    assert (await get_thread(rows, first)).interrupts == shown


async def test_ends_and_claims_of_many_threads_do_not_deadlock(rows: Rows) -> None:
    threads = [await rows.make_thread() for _ in range(5)]
    first = [await rows.claimed(thread_id=thread_id) for thread_id in threads]
    following = [await rows.make_run(thread_id) for thread_id in threads]
    worker_id = await rows.make_worker()

    results = await asyncio.gather(
        *(end(rows, run, Outcome(status="success", asks=[ask(new_id().hex)])) for run in first),
        *(rows.claim(run_id, worker_id) for run_id in following),
    )

    assert results[:5] == [True] * 5
