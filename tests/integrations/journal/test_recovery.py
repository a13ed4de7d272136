"""What an earlier process left open, by class of repeat; and what people decide about it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.integrations.conftest import Before, Killed, answer, make_spec

from perron.errors import Aborted, ReplayMismatch, SealError, Upstream
from perron.integrations.exchange import FOUND, Exchange, NoAnswer, NotSent
from perron.integrations.repeat import AskPerson, Harmless, LookUp, Repeat, SameKey
from perron.repositories.journal import JournalRepository

if TYPE_CHECKING:
    from tests.integrations.conftest import FakeApi, ThreadDriver

    from perron.integrations.exchange import CallSpec

REFUND = {"cents": 100}


async def never(marker: str) -> None:
    """A finder of an author's; the journal calls `CallSpec.find`."""


def make_look_up(api: FakeApi, **changes: Any) -> CallSpec:
    async def find(marker: str) -> Exchange | None:
        return answer(200, {"found": marker}, **{FOUND: "1"}) if marker in api.keys and api.effects else None

    return make_spec(repeat=LookUp(never, settle_s=0.02), find=changes.pop("find", find), **changes)


async def kill(thread: ThreadDriver, spec: CallSpec, *, after_effect: bool) -> None:
    """Kill the process after `sent`, before or after the effect."""
    thread.api.plan = [Killed() if after_effect else Before(Killed())]
    with pytest.raises(Killed):
        await (await thread.execution()).call(REFUND, spec)


@pytest.mark.parametrize("repeat", [Harmless(), SameKey()])
@pytest.mark.parametrize("after_effect", [True, False])
async def test_a_repeat_that_is_safe_is_sent_again(
    thread: ThreadDriver, repeat: Repeat, *, after_effect: bool
) -> None:
    await kill(thread, make_spec(repeat=repeat), after_effect=after_effect)

    result = await (await thread.execution()).call(REFUND, make_spec(repeat=repeat))

    assert result[0] == 201
    assert len(set(thread.api.keys)) == 1
    assert [a.outcome for a in await thread.attempts()] == ["no_response", "answered"]


async def test_a_successor_waits_until_nothing_of_the_dead_process_can_be_on_its_way(thread: ThreadDriver) -> None:
    spec = make_spec(repeat=Harmless(), timeout_s=0.6)
    await kill(thread, spec, after_effect=True)
    successor = await thread.execution(after_s=0, patience=replace(thread.patience, sent_window_s=0.4))

    await successor.call(REFUND, spec)

    first, second = await thread.attempts()
    assert (second.sent_at - first.sent_at).total_seconds() >= 1.0


async def test_what_a_look_up_finds_is_done(thread: ThreadDriver) -> None:
    spec = make_look_up(thread.api)
    await kill(thread, spec, after_effect=True)

    found = await (await thread.execution()).call(REFUND, spec)
    again = await (await thread.execution()).call(REFUND, spec)

    assert again == found == (200, {"found": thread.api.keys[0]})
    assert len(thread.api.effects) == 1


async def test_what_a_look_up_does_not_find_is_sent_again(thread: ThreadDriver) -> None:
    spec = make_look_up(thread.api)
    await kill(thread, spec, after_effect=False)

    result = await (await thread.execution()).call(REFUND, spec)

    assert result[0] == 201
    assert len(thread.api.effects) == 1


async def test_what_shows_up_late_is_found_by_the_second_look_up(thread: ThreadDriver) -> None:
    answers = [None, answer(200, {"found": 1}, **{FOUND: "1"})]

    async def find(marker: str) -> Exchange | None:
        return answers.pop(0)

    spec = make_look_up(thread.api, find=find)
    thread.api.plan = [NoAnswer("reset")]

    assert await (await thread.execution()).call(REFUND, spec) == (200, {"found": 1})

    assert len(thread.api.effects) == 1


async def test_a_look_up_that_fails_is_a_question(thread: ThreadDriver) -> None:
    async def find(marker: str) -> Exchange | None:
        raise Upstream("The search is broken.")

    thread.api.plan = [NoAnswer("reset")]

    (ask,) = await (await thread.execution()).asks(REFUND, make_look_up(thread.api, find=find))

    assert "The search is broken." in ask.question


@pytest.mark.parametrize("after_effect", [True, False])
async def test_where_nobody_can_know_a_person_is_asked(thread: ThreadDriver, *, after_effect: bool) -> None:
    await kill(thread, make_spec(), after_effect=after_effect)

    (ask,) = await (await thread.execution()).asks(REFUND)
    (again,) = await (await thread.execution()).asks(REFUND)

    assert (ask.kind, ask.decisions) == ("unknown_outcome", ("give_result", "send", "abort"))
    assert again.interrupt_id == ask.interrupt_id
    assert len(ask.interrupt_id) == 32
    assert len(thread.api.effects) == int(after_effect)
    (row,) = await thread.calls()
    assert (row.state, row.call_id) == ("in_doubt", ask.call_id)


@pytest.mark.parametrize("repeat", [Harmless(), SameKey(), AskPerson()])
async def test_a_write_that_stays_in_doubt_is_a_question_and_no_error(
    thread: ThreadDriver, repeat: Repeat
) -> None:
    thread.api.plan = [NoAnswer("reset"), NotSent("refused"), NoAnswer("reset"), NoAnswer("reset")]

    asks = await (await thread.execution()).asks(REFUND, make_spec(repeat=repeat))

    assert [ask.kind for ask in asks] == ["unknown_outcome"]


async def test_a_refusal_does_not_settle_what_is_in_doubt(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset"), 401]

    asks = await (await thread.execution()).asks(REFUND, make_spec(repeat=SameKey()))

    assert [ask.kind for ask in asks] == ["unknown_outcome"]


async def test_5xx_of_an_api_that_promises_that_nothing_was_done_is_no_question(thread: ThreadDriver) -> None:
    thread.api.plan = [500, 500, 500]

    result = await (await thread.execution()).call(REFUND, make_spec(repeat=AskPerson(safe_5xx=True)))

    assert result[0] == 500
    assert [call.state for call in await thread.calls()] == ["begun"]


async def test_5xx_is_a_question_otherwise(thread: ThreadDriver) -> None:
    thread.api.plan = [500]

    asks = await (await thread.execution()).asks(REFUND)

    assert [ask.kind for ask in asks] == ["unknown_outcome"]


async def test_a_key_in_use_is_waited_for(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset"), 409, 201]

    result = await (await thread.execution()).call(REFUND, make_spec(repeat=SameKey()))

    assert result[0] == 201


async def test_409_at_the_first_try_is_a_definite_no(thread: ThreadDriver) -> None:
    thread.api.plan = [409]

    result = await (await thread.execution()).call(REFUND, make_spec(repeat=SameKey()))

    assert result[0] == 409
    assert [call.state for call in await thread.calls()] == ["failed"]


async def test_another_request_under_the_key_is_a_mismatch_also_when_replayed(thread: ThreadDriver) -> None:
    spec = make_spec(repeat=SameKey())
    thread.api.plan = [NoAnswer("reset"), 422]

    for _ in range(2):
        with pytest.raises(ReplayMismatch, match="do not send it again"):
            await (await thread.execution()).call(REFUND, spec)

    assert thread.api.requests == 2


async def test_a_key_that_the_api_has_forgotten_is_a_question(thread: ThreadDriver) -> None:
    spec = make_spec(repeat=SameKey(ttl_h=0.1 / 3600))
    await kill(thread, spec, after_effect=True)

    asks = await (await thread.execution()).asks(REFUND, spec)

    assert [ask.kind for ask in asks] == ["unknown_outcome"]
    assert thread.api.requests == 1


async def test_no_waiting_where_the_end_of_an_attempt_was_seen(thread: ThreadDriver) -> None:
    patient = make_spec(repeat=Harmless(), timeout_s=600.0)
    thread.api.plan = [NoAnswer("reset"), Before(Killed())]
    with pytest.raises(Killed):
        await (await thread.execution()).call(REFUND, patient)
    async with thread.database.begin() as session:
        await JournalRepository(session, schema="perron").close_attempts((await thread.calls())[0].call_id)

    async with asyncio.timeout(60):
        await (await thread.execution(after_s=0)).call(REFUND, patient)


async def test_send_makes_the_call_once_more(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset")]
    (ask,) = await (await thread.execution()).asks(REFUND)
    await thread.decide(ask, "send")

    result = await (await thread.execution()).call(REFUND)
    again = await (await thread.execution()).call(REFUND)

    assert again == result == (201, {"id": 2, "of": REFUND})
    assert thread.api.requests == 2


async def test_send_counts_for_one_attempt_only(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset"), NoAnswer("reset")]
    (ask,) = await (await thread.execution()).asks(REFUND)
    await thread.decide(ask, "send")

    (second,) = await (await thread.execution()).asks(REFUND)
    (third,) = await (await thread.execution()).asks(REFUND)

    assert second.interrupt_id == third.interrupt_id == ask.interrupt_id
    assert thread.api.requests == 2


async def test_abort_is_recorded_and_replayed(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset")]
    (ask,) = await (await thread.execution()).asks(REFUND)
    await thread.decide(ask, "abort")

    for _ in range(2):
        with pytest.raises(Aborted):
            await (await thread.execution()).call(REFUND)

    assert [call.state for call in await thread.calls()] == ["aborted"]


async def test_a_given_result_is_checked_and_replayed(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset")]
    (ask,) = await (await thread.execution()).asks(REFUND)
    await thread.decide(ask, "give_result", ["no", "object"])
    (again,) = await (await thread.execution()).asks(REFUND)
    await thread.decide(again, "give_result", {"id": 7})

    given = await (await thread.execution()).call(REFUND)
    replayed = await (await thread.execution()).call(REFUND)

    assert "does not fit" in again.question
    assert replayed == given == (200, {"id": 7})
    assert thread.api.requests == 1


async def test_an_answer_that_came_in_the_meantime_wins_over_a_decision(thread: ThreadDriver) -> None:
    zombie = await thread.execution()
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def late() -> int:
        arrived.set()
        await go_on.wait()
        return 201

    thread.api.plan = [late]
    task = asyncio.ensure_future(zombie.begin(REFUND))
    await arrived.wait()
    (ask,) = await (await thread.execution()).asks(REFUND)  # its process was frozen and not dead
    go_on.set()
    result = await task
    await thread.decide(ask, "send")

    again = await (await thread.execution()).call(REFUND)

    assert again == result
    assert thread.api.requests == 1


async def test_other_arguments_where_a_call_was_recorded_are_a_question(thread: ThreadDriver) -> None:
    await (await thread.execution()).call(REFUND)

    (ask,) = await (await thread.execution()).asks({"cents": 50})
    (again,) = await (await thread.execution()).asks({"cents": 50})

    assert (ask.kind, ask.decisions) == ("mismatch", ("use_recorded", "send", "abort"))
    assert again.interrupt_id == ask.interrupt_id
    assert ask.arguments == {"cents": 50}
    assert thread.api.requests == 1
    assert [(call.slot, call.state) for call in await thread.calls()] == [("#1", "done"), ("#1/2", "in_doubt")]


@pytest.mark.parametrize(("decision", "requests"), [("use_recorded", 1), ("send", 2)])
async def test_a_mismatch_is_settled_once_for_all(thread: ThreadDriver, decision: str, requests: int) -> None:
    recorded = await (await thread.execution()).call(REFUND)
    (ask,) = await (await thread.execution()).asks({"cents": 50})
    await thread.decide(ask, decision)

    result = await (await thread.execution()).call({"cents": 50})
    again = await (await thread.execution()).call({"cents": 50})

    assert again == result
    assert (result == recorded) is (decision == "use_recorded")
    assert thread.api.requests == requests


async def test_a_mismatch_that_was_aborted_keeps_what_was_done(thread: ThreadDriver) -> None:
    recorded = await (await thread.execution()).call(REFUND)
    (ask,) = await (await thread.execution()).asks({"cents": 50})
    await thread.decide(ask, "abort")

    with pytest.raises(Aborted):
        await (await thread.execution()).call({"cents": 50})

    assert await (await thread.execution()).call(REFUND) == recorded


async def test_other_arguments_after_a_definite_no_are_just_another_call(thread: ThreadDriver) -> None:
    thread.api.plan = [422]
    await (await thread.execution()).call(REFUND)

    result = await (await thread.execution()).call({"cents": 50})

    assert result[0] == 201


async def test_the_same_call_after_a_step_was_left_behind_is_a_question(thread: ThreadDriver) -> None:
    await (await thread.execution("task-1")).call(REFUND)

    # `update_state` on the waiting thread: the node has another task id, its step another checkpoint.
    (ask,) = await (await thread.execution("task-2", checkpoints={"": "c2"})).asks(REFUND)
    await thread.decide(ask, "use_recorded")
    result = await (await thread.execution("task-2", checkpoints={"": "c2"})).call(REFUND)

    assert ask.kind == "mismatch"
    assert "left behind" in ask.question
    assert result == (201, {"id": 1, "of": REFUND})
    assert thread.api.requests == 1


async def test_the_same_call_in_doubt_in_a_step_left_behind_is_a_question(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset")]
    await (await thread.execution("task-1")).asks(REFUND)

    (ask,) = await (await thread.execution("task-2", checkpoints={"": "c2"})).asks(REFUND)

    assert (ask.kind, ask.decisions) == ("mismatch", ("send", "abort"))


async def test_two_tasks_of_one_step_may_do_the_same(thread: ThreadDriver) -> None:
    await (await thread.execution("task-1")).call(REFUND)

    result = await (await thread.execution("task-2")).call(REFUND)

    assert result == (201, {"id": 2, "of": REFUND})


async def test_a_later_step_may_do_the_same(thread: ThreadDriver) -> None:
    await (await thread.execution("task-1")).call(REFUND)
    await thread.checkpoint()

    result = await (await thread.execution("task-2", checkpoints={"": "c2"})).call(REFUND)

    assert result == (201, {"id": 2, "of": REFUND})


async def test_the_same_call_on_another_branch_is_a_question(thread: ThreadDriver) -> None:
    await (await thread.execution("task-1")).call(REFUND)
    await thread.checkpoint()
    await thread.new_run()

    branch = await thread.execution("task-2", checkpoints={"": "c0"}, is_branch=True)
    (ask,) = await branch.asks(REFUND)

    assert (ask.kind, ask.decisions) == ("mismatch", ("send", "abort"))


async def test_an_answer_that_is_gone_is_neither_replayed_nor_fetched_again(thread: ThreadDriver) -> None:
    await (await thread.execution()).call(REFUND)
    await thread.checkpoint()

    with pytest.raises(SealError, match="neither repeated nor replayed"):
        await (await thread.execution()).call(REFUND)

    assert thread.api.requests == 1


async def test_a_keyed_call_in_doubt_is_a_question_when_its_arguments_changed(thread: ThreadDriver) -> None:
    spec = make_spec(repeat=Harmless())
    thread.api.plan = [Before(Killed())]
    with pytest.raises(Killed):
        await (await thread.execution()).call(REFUND, spec, once="order-7")

    asks = await (await thread.execution()).asks({"cents": 1}, spec, once="order-7")

    assert [ask.kind for ask in asks] == ["unknown_outcome"]
