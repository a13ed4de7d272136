from datetime import UTC, datetime, timedelta
from uuid import uuid4

from perron.caller import Caller
from perron.database.engine import Database
from perron.ids import new_id
from perron.models.ask import Ask
from perron.models.call import Call, CallAttempt
from perron.models.run import Run
from perron.models.run_event import RunEvent
from perron.models.thread import Thread
from perron.services.timeline import TimelineService

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def make_step(run: Run, n: int, seconds: float, *, epoch: int, state: str) -> RunEvent:
    payload = {"id": "task", "name": "pay", "state": state}
    return RunEvent(
        run_id=run.run_id, epoch=epoch, n=n, n_first=n, event="step", payload=payload, created_at=at(seconds)
    )


def make_call(run: Run, seconds: float) -> Call:
    return Call(
        call_id=new_id(),
        tenant="default",
        owner="system",
        thread_id=run.thread_id,
        run_id=run.run_id,
        task_id="task",
        operation="desk.refund",
        slot="#0",
        fingerprint=b"",
        effect="create",
        repeat="SameKey",
        state="done",
        arguments={"payment": "p-1"},
        created_at=at(seconds),
        finished_at=at(seconds + 3),
    )


async def test_a_timeline_has_both_attempts_the_call_under_its_step_and_the_wait(database_url: str) -> None:
    database = Database(database_url)
    thread = Thread(thread_id=uuid4(), tenant="default", owner="system")
    run = Run(
        run_id=new_id(),
        thread_id=thread.thread_id,
        tenant="default",
        owner="system",
        graph_id="triage",
        seq=1,
        status="success",
        epoch=2,
    )
    call = make_call(run, 0.9)
    attempt = CallAttempt(
        attempt_id=new_id(),
        call_id=call.call_id,
        run_id=run.run_id,
        epoch=1,
        method="POST",
        path="/refunds",
        timeout_s=30,
        outcome="answered",
        status=200,
        sent_at=at(0.8),
    )
    ask = Ask(
        ask_id=new_id(),
        tenant="default",
        owner="system",
        thread_id=thread.thread_id,
        run_id=run.run_id,
        interrupt_id="0" * 32,
        kind="interrupt",
        question="Really?",
        created_at=at(30),
    )
    begins = [
        RunEvent(run_id=run.run_id, epoch=e, n=1, n_first=1, event="metadata", payload={}, created_at=at(s))
        for e, s in ((1, 0), (2, 20))
    ]
    steps = [
        make_step(run, 2, 1, epoch=1, state="started"),
        make_step(run, 2, 21, epoch=2, state="started"),
        make_step(run, 3, 22, epoch=2, state="waiting"),
    ]
    async with database.begin() as session:
        session.add(thread)
        await session.flush()
        session.add_all([run, call, *begins, *steps])
        await session.flush()
        session.add_all([attempt, ask])

    timeline = await TimelineService(database).get(Caller.system(), run.run_id)

    assert [(entry.kind, entry.state) for entry in timeline.entries] == [
        ("attempt", "started"),
        ("step", "lost"),
        ("call", "done"),
        ("attempt", "started"),
        ("step", "waiting"),
        ("ask", "open"),
    ]
    shown = timeline.entries[2]
    assert shown.at == at(1)  # with its step, though it was sent a moment before the step was written
    assert [each["path"] for each in shown.facts["attempts"]] == ["/refunds"]
    await database.close()


async def test_a_read_begins_when_it_was_sent_not_when_it_was_recorded(database_url: str) -> None:
    database = Database(database_url)
    thread = Thread(thread_id=uuid4(), tenant="default", owner="system")
    run = Run(
        run_id=new_id(),
        thread_id=thread.thread_id,
        tenant="default",
        owner="system",
        graph_id="triage",
        seq=1,
    )
    call = make_call(run, 5)
    attempt = CallAttempt(
        attempt_id=new_id(),
        call_id=call.call_id,
        run_id=run.run_id,
        epoch=1,
        timeout_s=30,
        outcome="answered",
        sent_at=at(2),
    )
    async with database.begin() as session:
        session.add(thread)
        await session.flush()
        session.add_all([run, call])
        await session.flush()
        session.add(attempt)

    timeline = await TimelineService(database).get(Caller.system(), run.run_id)

    assert [entry.at for entry in timeline.entries] == [at(2)]
    await database.close()
