"""One attempt of a node: its questions come together, its calls are waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.integrations.conftest import Stopped, make_spec

from perron.integrations.exchange import NoAnswer
from perron.integrations.run.open_ask import ask_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integrations.conftest import Execution, ThreadDriver


def slow(until: Callable[[], bool], step: int | Exception = 201) -> Callable[[], Awaitable[int]]:
    """An API that answers, or fails, once something is the case."""

    async def wait() -> int:
        await eventually(until)
        if isinstance(step, Exception):
            raise step
        return step

    return wait


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)


async def test_questions_come_together_when_all_that_was_begun_is_settled(thread: ThreadDriver) -> None:
    execution = await thread.execution()
    asks, api = execution.context.asks, thread.api
    pending: list[asyncio.Future[object]] = []
    api.plan = [
        slow(lambda: len(asks) == 1, NoAnswer("reset")),
        slow(lambda: api.requests == 3, NoAnswer("reset")),
        slow(lambda: len(pending) == 4),
    ]
    for n in (1, 2, 3):
        pending.append(asyncio.ensure_future(execution.begin({"cents": n}, make_spec())))
        await eventually(lambda n=n: api.requests == n)  # type: ignore[misc]
    await eventually(lambda: len(asks) == 2)

    pending.append(asyncio.ensure_future(execution.begin({"cents": 4}, make_spec())))
    results = await asyncio.gather(*pending, return_exceptions=True)

    assert isinstance(results[0], Stopped)
    assert all(results[i] is results[0] for i in (1, 3))
    assert results[2] == (201, {"id": 1, "of": {"cents": 3}})
    # In the order of the code, though the second came to its question first.
    assert [ask.arguments for ask in results[0].asks] == [{"cents": 1}, {"cents": 2}]
    assert api.requests == 3


async def test_all_answers_are_acted_on_when_the_node_comes_back(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset"), NoAnswer("reset")]
    first = await thread.execution()
    both = [first.begin({"cents": n}) for n in (1, 2)]
    stopped, _ = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(stopped, Stopped)
    await thread.decide(stopped.asks[1], "give_result", {"given": 2})
    await thread.decide(stopped.asks[0], "give_result", {"given": 1})

    successor = await thread.execution()
    results = await asyncio.gather(*[successor.begin({"cents": n}) for n in (1, 2)])

    assert results == [(200, {"given": 1}), (200, {"given": 2})]


async def test_a_question_that_the_authors_code_swallowed_is_still_owed(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset")]
    execution = await thread.execution()
    (ask,) = await execution.asks({"cents": 1})

    owed = execution.context.attempts.end("task-1")

    assert isinstance(owed, Stopped)
    assert owed.asks == [ask]
    assert execution.context.attempts.end("task-2") is None


async def test_an_authors_except_exception_inside_an_operation_swallows_nothing(thread: ThreadDriver) -> None:
    execution = await thread.execution()
    thread.api.plan = [NoAnswer("reset")]

    with pytest.raises(Stopped):
        await execution.careless({"cents": 1})


async def test_settling_waits_for_what_was_sent_also_when_nobody_awaits_it(thread: ThreadDriver) -> None:
    execution = await thread.execution()
    released = asyncio.Event()
    thread.api.plan = [slow(released.is_set)]
    call = asyncio.ensure_future(execution.begin({"cents": 1}))
    await slow(lambda: thread.api.requests == 1)()
    call.cancel()
    settling = asyncio.ensure_future(execution.context.attempts.settled())
    await asyncio.wait([call, settling], return_when=asyncio.FIRST_COMPLETED)
    assert not settling.done()

    released.set()
    await settling

    assert [row.state for row in await thread.calls()] == ["done"]


async def test_sync_tools_in_threads_stop_together(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset"), NoAnswer("reset")]
    execution = await thread.execution()

    def tool(cents: int) -> object:
        return run_on_loop(execution, cents)

    results = await asyncio.gather(*[asyncio.to_thread(tool, n) for n in (1, 2)], return_exceptions=True)

    assert isinstance(results[0], Stopped)
    assert results[1] is results[0]
    assert sorted(ask.arguments["cents"] for ask in results[0].asks) == [1, 2]


async def test_a_question_looks_like_a_human_in_the_loop_request(thread: ThreadDriver) -> None:
    thread.api.plan = [NoAnswer("reset")]
    (ask,) = await (await thread.execution()).asks({"cents": 1, "password": "canary"})

    value = ask_value(ask)

    assert value["action_requests"] == [
        {"name": "desk.refund", "args": {"cents": 1, "password": "[redacted]"}, "description": ask.question}
    ]
    assert value["review_configs"] == [
        {"action_name": "desk.refund", "allowed_decisions": ["give_result", "send", "abort"]}
    ]
    assert value["perron"]["kind"] == "unknown_outcome"
    assert value["perron"]["call_id"] == str(ask.call_id)
    assert value["perron"]["answer_schema"] == {"additionalProperties": True, "type": "object"}


def run_on_loop(execution: Execution, cents: int) -> object:
    """What `.sync` does: take the place in this thread, make the call on the run's loop."""
    pending = execution.begin({"cents": cents})
    return asyncio.run_coroutine_threadsafe(pending, execution.context.loop).result()
