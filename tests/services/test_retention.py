"""What goes by its age: all that is over, and nothing that somebody may still come to."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from langgraph.types import interrupt
from tests.conftest import Deployment, State, chain

from perron import AskPerson, effect
from perron.configuration import PlatformSettings
from perron.core.platform import Platform
from perron.ids import least_id, new_id
from perron.services.answer import Answer
from perron.services.retention import Retention

MOMENT = 1e-9
"""An age in days that everything has by now."""

sent: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    sent.clear()


@effect("retention.say", repeat=AskPerson)
async def say(text: str) -> str:
    """Say something."""
    sent.append(text)
    return f"said {text}"


async def first(state: State) -> State:
    return {"log": [await say("first")]}


async def second(state: State) -> State:
    said = await say(f"second {state['text']}")
    await say.once("only")("only once")
    if state["text"] == "fail" and sent.count("tried") < 1:
        sent.append("tried")
        raise ValueError("no such luck")
    return {"log": [said, str(interrupt("who?"))] if state["text"] == "ask" else [said]}


def retention(platform: Platform, **settings: Any) -> Retention:
    return Retention(platform._opened.shared.database, platform.settings.model_copy(update=settings))


async def delete_all(platform: Platform, **settings: Any) -> None:
    while await retention(platform, **settings).delete_old():
        pass


async def count(deployment: Deployment, table: str, where: str = "true") -> int:
    [row] = await deployment.sql(f"SELECT count(*) AS n FROM {table} WHERE {where}")
    return int(row["n"])


async def test_runs_and_calls_go_when_their_thread_is_at_rest(deployment: Deployment) -> None:
    platform = await deployment.open(chain(first, second))
    done = (await platform.run("agent", {"text": "x"})).thread_id
    gone = (await platform.run("agent", {"text": "y"})).thread_id
    await platform.pruning.prune(platform.caller, [gone])

    await delete_all(platform, keep_runs_days=1, keep_calls_days=1)
    assert (await count(deployment, "perron.runs"), await count(deployment, "perron.calls")) == (1, 6)
    await delete_all(platform, keep_runs_days=0, keep_calls_days=0)
    assert (await count(deployment, "perron.runs"), await count(deployment, "perron.calls")) == (1, 6)
    await delete_all(platform, keep_runs_days=MOMENT, keep_calls_days=MOMENT)

    # What was made once in the thread stays as long as that: its next run does not make it again.
    assert (await count(deployment, "perron.runs"), await count(deployment, "perron.run_events")) == (0, 0)
    [left] = await deployment.sql("SELECT thread_id, slot FROM perron.calls")
    assert left == {"thread_id": done, "slot": "=only"}
    assert await count(deployment, "perron.call_attempts") == 1
    run = await platform.run("agent", {"text": "z"}, thread_id=done)
    assert run.output["log"] == ["said first", "said second x", "said first", "said second z"]
    assert sent.count("only once") == 2  # once in each thread


async def test_what_waits_keeps_its_runs_and_calls_and_what_failed_its_calls(
    deployment: Deployment,
) -> None:
    platform = await deployment.open(chain(first, second))
    waiting = await platform.run("agent", {"text": "ask"})
    failed = await platform.run("agent", {"text": "fail"})
    assert (waiting.status, failed.status) == ("success", "error")
    stopped = await platform.run("agent", {"text": "x"})
    # One was cancelled in the middle; in the other a later run has failed beside the question.
    for thread_id, status in ((stopped.thread_id, "interrupted"), (waiting.thread_id, "error")):
        await deployment.sql("UPDATE perron.threads SET status = %s WHERE thread_id = %s", status, thread_id)
    [asked] = await platform.asks.search(platform.caller)

    # First as if a person had answered, and the run that was to act on it had failed: a retry reads the answer.
    await deployment.sql("UPDATE perron.asks SET state = 'answered'")
    await delete_all(platform, keep_runs_days=MOMENT, keep_calls_days=MOMENT)
    await deployment.sql("UPDATE perron.asks SET state = 'open'")
    await delete_all(platform, keep_runs_days=MOMENT, keep_calls_days=MOMENT)

    assert await count(deployment, "perron.calls") == 9
    left = await platform.runs.search(platform.caller)
    assert {run.run_id for run in left} == {waiting.run_id, stopped.run_id}
    answered = await platform.resume(waiting.thread_id, {asked.ask_id: Answer("respond", "ann")})
    assert answered.output["log"] == ["said first", "said second ask", "ann"]
    retried = await platform.run("agent", None, thread_id=failed.thread_id)
    assert retried.output["log"] == ["said first", "said second fail"]
    assert sent.count("first") == sent.count("only once") == 3
    assert (sent.count("second ask"), sent.count("second fail")) == (1, 1)


async def test_calls_that_somebody_may_have_to_know_of_stay_as_long_as_their_thread(
    deployment: Deployment,
) -> None:
    platform = await deployment.open(chain(first, second))
    one = await platform.run("agent", {"text": "x"})
    two = await platform.run("agent", {"text": "y"}, thread_id=one.thread_id)
    for run_id, node, change in (
        (one.run_id, "first", "state = 'in_doubt'"),
        (one.run_id, "second", "slot = '~' || run_id || slot"),
        (two.run_id, "first", "sealed = 'its answer is in no state'"),
    ):
        await deployment.sql(
            f"UPDATE perron.calls SET {change} WHERE run_id = %s AND node = %s AND slot LIKE '#%%'", run_id, node
        )
    await deployment.sql("UPDATE perron.calls SET sealed = NULL WHERE slot LIKE '=%%'")

    await delete_all(platform, keep_calls_days=MOMENT)
    assert await count(deployment, "perron.calls") == 4  # with the one that was made once

    await platform.pruning.prune(platform.caller, [one.thread_id])
    await delete_all(platform, keep_calls_days=MOMENT)
    assert await count(deployment, "perron.calls") == 0


async def test_many_rows_go_in_batches_by_several_workers(deployment: Deployment) -> None:
    platform = await deployment.open(chain(first), worker=False)
    await deployment.sql(
        """
        INSERT INTO perron.webhook_deliveries (delivery_id, run_id, thread_id, url, state, updated_at)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'https://example.org',
            (ARRAY['delivered', 'failed', 'pending'])[1 + i %% 3], now() - make_interval(days => 28 + i %% 5)
        FROM generate_series(1, 3000) i
        """
    )
    old = "updated_at < now() - interval '30 days'"
    await deployment.sql(
        "INSERT INTO pgqueuer.pgqueuer_log (created, job_id, status, priority, entrypoint)"
        " SELECT now() - make_interval(days => 14 - i / 100), i, 'successful', 0, 'run/x'"
        " FROM generate_series(0, 1399) i"
    )
    for name, days in (("ended", 31), ("ending", 29)):
        await deployment.sql(
            "INSERT INTO perron.crons (cron_id, graph_id, schedule, end_time, metadata)"
            " VALUES (gen_random_uuid(), 'agent', '@daily', now() - make_interval(days => %s),"
            " jsonb_build_object('name', %s::text))",
            days,
            name,
        )
    for hours in (1, 30):
        await deployment.sql(
            "INSERT INTO perron.workers (worker_id, host, pid, version, lease_s, beat_at)"
            " VALUES (gen_random_uuid(), 'h', 1, '0', 10, now() - make_interval(hours => %s))",
            hours,
        )

    assert await retention(platform).delete_old()  # a batch; there is more
    assert await count(deployment, "perron.webhook_deliveries", f"{old} AND state <> 'pending'") > 0
    await asyncio.gather(*(delete_all(platform) for _ in range(3)))

    assert await count(deployment, "perron.webhook_deliveries", f"{old} AND state <> 'pending'") == 0
    assert await count(deployment, "perron.webhook_deliveries", "state = 'pending'") == 1000
    assert await count(deployment, "perron.webhook_deliveries", f"NOT {old} AND state <> 'pending'") > 0
    assert await count(deployment, "pgqueuer.pgqueuer_log") == 600
    assert await deployment.sql("SELECT metadata ->> 'name' AS name FROM perron.crons") == [{"name": "ending"}]
    assert await count(deployment, "perron.workers") == 1


async def make_week(deployment: Deployment, weeks_ago: int) -> tuple[date, UUID]:
    """Make the partition of a past week, with an event; return its Monday and the event's run."""
    today = (await deployment.sql("SELECT (now() AT TIME ZONE 'UTC')::date AS d"))[0]["d"]
    monday = today - timedelta(days=today.weekday(), weeks=weeks_ago)
    bounds = [least_id_of(monday), least_id_of(monday + timedelta(weeks=1))]
    name = f"perron.run_events_{monday:%Y_%m_%d}"
    await deployment.sql(
        f"CREATE TABLE {name} PARTITION OF perron.run_events FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
    )
    run_id = UUID(int=bounds[0].int | new_id().int & (1 << 80) - 1)
    await deployment.sql(
        "INSERT INTO perron.run_events (run_id, epoch, n, n_first, event) VALUES (%s, 1, 1, 1, 'end')", run_id
    )
    return monday, run_id


def least_id_of(day: date) -> UUID:
    return least_id(datetime.combine(day, time(), tzinfo=UTC))


async def test_weeks_of_events_go_as_a_whole_when_all_of_their_runs_have_ended(deployment: Deployment) -> None:
    platform = await deployment.open(chain(first), worker=False)
    thread_id = (await platform.threads.create(platform.caller)).thread_id
    made = {ago: await make_week(deployment, ago) for ago in (4, 6, 7, 8)}
    for seq, (ago, status, ended_days_ago) in enumerate(
        ((6, "pending", None), (7, "success", 29), (8, "success", 31))
    ):
        await deployment.sql(
            "INSERT INTO perron.runs (run_id, thread_id, graph_id, seq, status, finished_at)"
            " VALUES (%s, %s, 'agent', %s, %s, now() - make_interval(days => %s))",
            made[ago][1],
            thread_id,
            seq,
            status,
            ended_days_ago,
        )

    async def left() -> set[int]:
        rows = await deployment.sql("SELECT run_id FROM perron.run_events")
        return {ago for ago, (_, run_id) in made.items() if {"run_id": run_id} in rows}

    await retention(platform, keep_events_days=0).delete_old()
    assert await left() == {4, 6, 7, 8}
    await retention(platform).delete_old()
    assert await left() == {4, 6, 7}
    assert not await deployment.sql(
        "SELECT 1 FROM pg_class WHERE relname = %s", f"run_events_{made[8][0]:%Y_%m_%d}"
    )


async def test_a_week_that_is_in_use_is_left_and_nobody_waits_for_it_long(deployment: Deployment) -> None:
    platform = await deployment.open(chain(first))
    _, old = await make_week(deployment, 8)

    async with deployment.connect() as reader, reader.transaction():
        await reader.execute("SELECT 1 FROM perron.run_events")
        dropping = asyncio.create_task(retention(platform).delete_old())
        await deployment.waits_for_a_lock()
        run = await asyncio.wait_for(platform.run("agent", {"text": "x"}), 5)  # while the reader still reads
        await dropping

    assert run.status == "success"
    is_old = f"run_id = '{old}'"
    assert await count(deployment, "perron.run_events", is_old) == 1
    await retention(platform).delete_old()
    assert await count(deployment, "perron.run_events", is_old) == 0
    assert await count(deployment, "perron.run_events") > 0


def test_by_default_a_run_that_is_shown_has_its_calls() -> None:
    fields = PlatformSettings.model_fields
    assert fields["keep_runs_days"].default <= fields["keep_calls_days"].default


async def test_a_kind_that_cannot_be_deleted_holds_up_no_other(deployment: Deployment) -> None:
    platform = await deployment.open(chain(first))
    await deployment.sql(
        "INSERT INTO perron.workers (worker_id, host, pid, version, lease_s, beat_at)"
        " VALUES (gen_random_uuid(), 'gone', 1, '0', 1, now() - interval '9 days')"
    )
    await deployment.sql("ALTER TABLE perron.webhook_deliveries RENAME TO elsewhere")

    await delete_all(platform, keep_workers_days=1, keep_webhooks_days=1)

    assert await count(deployment, "perron.workers", "host = 'gone'") == 0
