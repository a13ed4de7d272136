"""The journal: a call that was made is not made again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.integrations.conftest import Before, Killed, make_spec

from perron import failpoints
from perron.errors import DefinitionError, LeaseLostError, OutsidePlatformError, Upstream
from perron.integrations.exchange import ActiveCall, BeforeBytes, Exchange, NotSent, Outgoing
from perron.integrations.journal.journal import canonical
from perron.integrations.repeat import SameKey

if TYPE_CHECKING:
    from tests.integrations.conftest import ThreadDriver

OUT = Outgoing("POST", "desk", "/refunds", None, 30.0)


async def test_a_finished_call_is_replayed_after_a_kill(thread: ThreadDriver) -> None:
    first = await (await thread.execution()).call({"cents": 100})

    again = await (await thread.execution()).call({"cents": 100})

    assert again == first == (201, {"id": 1, "of": {"cents": 100}})
    assert thread.api.requests == 1
    (row,) = await thread.calls()
    assert (row.state, row.slot, row.result) == ("done", "#1", {"id": 1, "of": {"cents": 100}})


async def test_the_same_call_twice_in_one_node_is_two_calls_and_both_are_replayed(thread: ThreadDriver) -> None:
    first = await thread.execution()
    results = [await first.call({"cents": 1}), await first.call({"cents": 1})]

    successor = await thread.execution()
    again = [await successor.call({"cents": 1}), await successor.call({"cents": 1})]

    assert [body["id"] for _, body in results] == [1, 2]
    assert again == results
    assert thread.api.requests == 2


async def test_the_order_of_the_code_counts_under_gather(thread: ThreadDriver) -> None:
    first = await thread.execution()
    results = await asyncio.gather(*[first.begin({"cents": n}) for n in range(5)])

    successor = await thread.execution()
    pending = [successor.begin({"cents": n}) for n in range(5)]
    again = await asyncio.gather(*reversed(pending))

    assert list(reversed(again)) == results
    assert thread.api.requests == 5


async def test_a_call_is_recognised_by_its_arguments_when_the_order_changed(thread: ThreadDriver) -> None:
    first = await thread.execution()
    one, two = [await first.call({"cents": 1}), await first.call({"cents": 2})]

    successor = await thread.execution()
    pending = [successor.begin({"cents": 2}), successor.begin({"cents": 1})]
    again = await asyncio.gather(*pending)

    assert again == [two, one]
    assert thread.api.requests == 2


async def test_each_attempt_of_a_node_starts_counting_anew(thread: ThreadDriver) -> None:
    execution = await thread.execution()
    first = await execution.call({"cents": 1})

    execution.next_attempt()
    again = await execution.call({"cents": 1})

    assert again == first
    assert thread.api.requests == 1


async def test_a_node_of_a_subgraph_starts_counting_anew_when_the_node_around_it_is_retried(
    thread: ThreadDriver,
) -> None:
    execution = await thread.execution()
    first = await execution.call({"cents": 1})

    execution.context.attempts.end("task-1")  # its code has ended; LangGraph counts its attempts from 1 again
    again = await execution.call({"cents": 1})

    assert again == first
    assert thread.api.requests == 1


async def test_tool_calls_are_told_apart_whatever_order_their_threads_start_in(thread: ThreadDriver) -> None:
    first = await thread.execution()
    a, b = (replace(first.task, tool_call_id=name) for name in "ab")
    results = [await first.call({"cents": 1}, task=a), await first.call({"cents": 1}, task=b)]

    successor = await thread.execution()
    again = [await successor.call({"cents": 1}, task=b), await successor.call({"cents": 1}, task=a)]

    assert list(reversed(again)) == results
    assert thread.api.requests == 2


async def test_a_definite_no_is_replayed(thread: ThreadDriver) -> None:
    thread.api.plan = [404]
    first = await (await thread.execution()).call({"cents": 1})

    again = await (await thread.execution()).call({"cents": 1})

    assert again == first == (404, {"message": "no"})
    assert thread.api.requests == 1
    (row,) = await thread.calls()
    assert row.state == "failed"
    assert row.error == {"code": "refused", "message": "answered 404", "status": 404}


async def test_refused_credentials_leave_the_call_to_be_made(thread: ThreadDriver) -> None:
    thread.api.plan = [401]
    refused = await (await thread.execution()).call({"cents": 1})

    made = await (await thread.execution()).call({"cents": 1})

    assert (refused[0], made[0]) == (401, 201)
    (row,) = await thread.calls()
    assert (row.state, row.error) == ("done", None)
    assert [a.status for a in await thread.attempts()] == [401, 201]


async def test_what_was_provably_not_sent_is_tried_again_and_then_given_up(thread: ThreadDriver) -> None:
    thread.api.plan = [NotSent("refused"), NotSent("refused")]
    assert (await (await thread.execution()).call({"cents": 1}))[0] == 201

    thread.api.plan = [NotSent("refused")] * 3
    with pytest.raises(Upstream, match="nothing was sent"):
        await (await thread.execution("task-2")).call({"cents": 2})

    assert len(thread.api.effects) == 1
    assert [call.state for call in await thread.calls()] == ["done", "begun"]


async def test_a_busy_api_is_waited_for(thread: ThreadDriver) -> None:
    thread.api.plan = [429, Exchange(503, {"retry-after": "1"}, b"{}"), 201]

    result = await (await thread.execution()).call({"cents": 1})

    assert result[0] == 201
    assert [a.status for a in await thread.attempts()] == [429, 503, 201]


async def test_a_call_sends_once(thread: ThreadDriver) -> None:
    execution = await thread.execution()

    async def body(call: ActiveCall) -> None:
        await call.send(OUT, execution.api.transport("one", call.marker))
        await call.send(OUT, execution.api.transport("two", call.marker))

    with pytest.raises(DefinitionError, match="second write"):
        await execution.make(make_spec(), {}, body)

    assert thread.api.effects == ["one"]


async def test_a_call_inside_another_one_is_refused(thread: ThreadDriver) -> None:
    execution = await thread.execution()

    async def body(call: ActiveCall) -> None:
        await execution.call({"cents": 1}, make_spec("desk.inner"))

    with pytest.raises(DefinitionError, match=r"desk\.inner is called inside desk\.refund"):
        await execution.make(make_spec(), {}, body)

    assert thread.api.requests == 0


async def test_the_marker_is_the_same_at_every_try_and_another_one_for_every_call(thread: ThreadDriver) -> None:
    thread.api.plan = [500, 201]
    execution = await thread.execution()

    await execution.call({"cents": 1}, make_spec(repeat=SameKey()))
    await execution.call({"cents": 1}, make_spec(repeat=SameKey()))

    assert len(set(thread.api.keys[:2])) == 1
    assert len(set(thread.api.keys)) == 2


async def test_nothing_is_sent_by_a_worker_that_lost_its_run(thread: ThreadDriver) -> None:
    zombie = await thread.execution()
    await thread.execution()

    with pytest.raises(LeaseLostError):
        await zombie.call({"cents": 1})

    assert thread.api.requests == 0
    assert await thread.calls() == []


async def test_nothing_is_sent_when_the_lease_ends_before_the_bytes(thread: ThreadDriver) -> None:
    execution = await thread.execution()

    async def body(call: ActiveCall) -> None:
        async def transport(before_bytes: BeforeBytes) -> Exchange:
            execution.has_lease = False
            return await execution.api.transport("one", call.marker)(before_bytes)

        await call.send(OUT, transport)

    with pytest.raises(LeaseLostError):
        await execution.make(make_spec(), {}, body)

    assert thread.api.effects == []
    assert [call.state for call in await thread.calls()] == ["begun"]
    assert [a.outcome for a in await thread.attempts()] == ["not_sent"]


async def test_a_sent_that_is_too_old_before_the_bytes_is_begun_anew(thread: ThreadDriver) -> None:
    execution = await thread.execution(patience=replace(thread.patience, sent_window_s=0.5))
    pauses = [0.7, 0.0]

    async def body(call: ActiveCall) -> int:
        async def transport(before_bytes: BeforeBytes) -> Exchange:
            await asyncio.sleep(pauses.pop(0))
            return await execution.api.transport("one", call.marker)(before_bytes)

        return (await call.send(OUT, transport)).status

    assert await execution.make(make_spec(), {}, body) == 201

    assert thread.api.effects == ["one"]
    assert [a.outcome for a in await thread.attempts()] == ["not_sent", "answered"]


async def test_a_result_counts_also_from_a_worker_that_lost_its_run(thread: ThreadDriver) -> None:
    zombie = await thread.execution()
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def late() -> int:
        arrived.set()
        await go_on.wait()
        return 201

    thread.api.plan = [late]
    task = asyncio.ensure_future(zombie.begin({"cents": 1}))
    await arrived.wait()
    successor = asyncio.ensure_future((await thread.execution(after_s=0)).call({"cents": 1}))
    go_on.set()

    assert await successor == await task
    assert thread.api.requests == 1


async def test_a_keyed_call_is_made_once_in_the_thread(thread: ThreadDriver) -> None:
    first = await (await thread.execution()).call({"cents": 1}, once="order-7")
    await thread.checkpoint()
    await thread.new_run()

    elsewhere = await thread.execution("task-9", node="later", checkpoints={"": "c9"})
    again = await elsewhere.call({"cents": 2}, once="order-7")
    other = await elsewhere.call({"cents": 2}, once="order-8")

    assert again == first
    assert other[1]["id"] == 2
    assert "" not in elsewhere.context.sealed_namespaces


async def test_two_keyed_calls_at_the_same_time_are_one(thread: ThreadDriver) -> None:
    execution = await thread.execution()

    results = await asyncio.gather(*[execution.begin({"cents": 1}, once="order-7") for _ in range(3)])

    assert results == [results[0]] * 3
    assert thread.api.requests == 1


async def test_a_call_that_its_caller_gave_up_waiting_for_is_not_made_again(thread: ThreadDriver) -> None:
    execution = await thread.execution()
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        arrived.set()
        await go_on.wait()
        return 201

    thread.api.plan = [slow]
    waiting = asyncio.ensure_future(execution.begin({"cents": 1}))
    await arrived.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    again = await execution.call({"cents": 1})

    assert again == (201, {"id": 1, "of": {"cents": 1}})
    assert thread.api.requests == 1


async def test_reads_are_made_anew_and_recorded(thread: ThreadDriver) -> None:
    spec = make_spec("desk.ticket", effect="read", repeat=None)
    thread.api.plan = [500, 200, 200]

    first = await (await thread.execution()).call({"n": 1}, spec)
    again = await (await thread.execution()).call({"n": 1}, spec)

    assert (first[1]["id"], again[1]["id"]) == (1, 2)
    rows = await thread.calls()
    assert [(row.state, row.effect, row.slot[0]) for row in rows] == [("done", "read", "@")] * 2
    assert [a.status for a in await thread.attempts()] == [500, 200, 200]


async def test_a_read_without_an_answer_fails(thread: ThreadDriver) -> None:
    spec = make_spec("desk.ticket", effect="read", repeat=None)
    thread.api.plan = [NotSent("refused")] * 3

    with pytest.raises(Upstream, match="does not answer"):
        await (await thread.execution()).call({"n": 1}, spec)

    (row,) = await thread.calls()
    assert (row.state, (row.error or {})["code"]) == ("failed", "upstream")


async def test_a_frozen_read_is_replayed(thread: ThreadDriver) -> None:
    spec = make_spec("desk.rate", effect="read", repeat=None, freeze=True)
    first = await (await thread.execution()).call({"n": 1}, spec)

    again = await (await thread.execution()).call({"n": 1}, spec)

    assert again == first
    assert thread.api.requests == 1


async def test_a_call_from_another_loop_is_made_on_the_runs_own(thread: ThreadDriver) -> None:
    execution = await thread.execution()

    result = await asyncio.to_thread(lambda: asyncio.run(execution.call({"cents": 1})))

    assert result[0] == 201


async def test_secrets_and_redacted_fields_are_in_no_row_and_replayed_all_the_same(thread: ThreadDriver) -> None:
    spec = make_spec(redact=("$.of.email",))
    arguments = {"email": "canary@example.org", "password": "canary-2"}

    first = await (await thread.execution()).call(arguments, replace(spec, redact=("$.email", "$.of.email")))
    again = await (await thread.execution()).call(arguments, spec)

    assert again == first
    assert first[1]["of"]["email"] == "canary@example.org"
    shown = repr([vars(row) for row in [*await thread.calls(), *await thread.attempts()]])
    assert "canary" not in shown


async def test_a_call_outside_a_run_says_so(thread: ThreadDriver) -> None:
    execution = await thread.execution()

    with pytest.raises(OutsidePlatformError):
        execution.context.journal.begin(make_spec(), {})


async def test_a_killed_process_leaves_what_it_sent_to_be_settled(thread: ThreadDriver) -> None:
    thread.api.plan = [Before(Killed())]

    with pytest.raises(Killed):
        await (await thread.execution()).call({"cents": 1})

    assert [call.state for call in await thread.calls()] == ["sent"]


def test_equal_arguments_have_one_canonical_form() -> None:
    assert canonical({"b": 1, "a": [1, {"y": 2, "x": 1}]}) == canonical({"a": [1, {"x": 1, "y": 2}], "b": 1})


async def test_without_the_journal_a_call_is_made_twice(
    thread: ThreadDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_active", {"journal": "off"})

    for _ in range(2):
        await (await thread.execution()).call({"cents": 1}, make_spec(repeat=SameKey()))

    assert len(thread.api.effects) == len(set(thread.api.keys)) == 2


async def test_without_the_fence_a_worker_that_lost_its_run_sends(
    thread: ThreadDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_active", {"fence": "off"})
    zombie = await thread.execution()
    await thread.execution()

    await zombie.call({"cents": 1})

    assert len(thread.api.effects) == 1


async def test_without_the_lease_check_a_worker_without_a_lease_sends(
    thread: ThreadDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_active", {"lease": "off"})
    execution = await thread.execution()
    execution.has_lease = False

    await execution.call({"cents": 1})

    assert len(thread.api.effects) == 1
