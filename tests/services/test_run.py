"""Rules of runs: creating, cancelling, retrying, and who sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from tests.conftest import Deployment
from typing_extensions import TypedDict

from perron.caller import Caller
from perron.core.platform import Platform
from perron.errors import (
    AgentNotFoundError,
    AskNotFoundError,
    InvalidInputError,
    NotFoundError,
    NotWaitingError,
    RunEndedError,
    RunNotFoundError,
    ThreadBusyError,
    ThreadNotFoundError,
)
from perron.ids import WorkerId, new_id
from perron.plugins.agent import Agent
from perron.schemas.run import RunCreate
from perron.services.answer import Answer

ANN, BOB, ROOT = Caller("ann"), Caller("bob"), Caller("root", is_admin=True)


class State(TypedDict, total=False):
    """What the agents here work on."""

    text: str


def agent(node: Callable[[State], Any], name: str = "agent") -> Agent:
    builder = StateGraph(State)
    builder.add_node("node", RunnableLambda(node))
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return Agent(name, builder)


def echo(state: State) -> State:
    return {"text": state.get("text", "")}


def ask(state: State) -> State:
    return {"text": str(interrupt({"question": "really?"}))}


@pytest.fixture
async def line(deployment: Deployment) -> Platform:
    """A platform that executes nothing: runs stay in line."""
    return await deployment.open(agent(echo), agent(ask, "asking"), worker=False)


def body(**options: Any) -> RunCreate:
    return RunCreate(**{"assistant_id": "agent", "input": {"text": "hi"}, **options})


async def test_a_new_run_waits_on_a_thread_of_its_callers(line: Platform) -> None:
    run = await line.runs.create(ANN, body(metadata={"a": 1}, config={"configurable": {"b": 2, "thread_id": "x"}}))

    thread = await line.threads.get(ANN, run.thread_id)
    assert (run.status, run.seq, run.owner, run.epoch) == ("pending", 1, "ann", 0)
    assert (thread.owner, thread.status) == ("ann", "busy")
    assert thread.metadata_["graph_id"] == "agent"
    assert run.kwargs["config"]["configurable"] == {"b": 2}


async def test_runs_of_a_thread_are_numbered(line: Platform) -> None:
    thread = await line.threads.create(ANN)

    runs = await asyncio.gather(*(line.runs.create(ANN, body(thread_id=thread.thread_id)) for _ in range(5)))

    assert sorted(run.seq for run in runs) == [1, 2, 3, 4, 5]


async def test_runs_on_a_thread_id_that_is_new_to_all_of_them_share_the_thread(line: Platform) -> None:
    thread_id = uuid4()

    runs = await asyncio.gather(
        *(line.runs.create(ANN, body(thread_id=thread_id, if_not_exists="create")) for _ in range(4))
    )

    assert sorted(run.seq for run in runs) == [1, 2, 3, 4]
    assert {run.thread_id for run in runs} == {thread_id}


async def test_of_runs_that_start_at_once_on_a_new_thread_one_starts(line: Platform) -> None:
    worker_id = WorkerId(new_id())
    on_thread = body(thread_id=uuid4(), if_not_exists="create")

    runs = await asyncio.gather(*(line.runs.create(ANN, on_thread, worker_id=worker_id) for _ in range(4)))

    started = [run for run in runs if run.status == "running"]
    assert [run.seq for run in started] == [1]
    assert {run.worker_id for run in runs if run not in started} == {None}


async def test_an_idempotency_key_makes_one_run(line: Platform) -> None:
    first = await line.runs.create(ANN, body(idempotency_key="k"))

    again = await line.runs.create(ANN, body(idempotency_key="k"))
    other = await line.runs.create(BOB, body(idempotency_key="k"))

    assert again.run_id == first.run_id
    assert other.run_id != first.run_id
    assert len(await line.runs.search(ANN)) == 1
    assert len(await line.threads.search(ANN)) == 1


async def test_an_idempotency_key_that_is_used_twice_at_once_makes_one_run(line: Platform) -> None:
    runs = await asyncio.gather(*(line.runs.create(ANN, body(idempotency_key="k")) for _ in range(6)))

    assert len({run.run_id for run in runs}) == 1
    assert len(await line.threads.search(ANN)) == 1


async def test_an_admins_idempotency_key_works_on_somebodys_thread(line: Platform) -> None:
    thread = await line.threads.create(ANN)
    keyed = body(idempotency_key="k", thread_id=thread.thread_id)

    first = await line.runs.create(ROOT, keyed)
    again = await line.runs.create(ROOT, keyed)

    assert (first.owner, again.run_id) == ("ann", first.run_id)


async def test_what_does_not_exist_is_named(line: Platform) -> None:
    with pytest.raises(AgentNotFoundError, match="'agent'"):
        await line.runs.create(ANN, body(assistant_id="agnet"))
    with pytest.raises(NotFoundError):
        await line.runs.create(ANN, body(assistant_id=str(uuid4())))
    with pytest.raises(ThreadNotFoundError):
        await line.runs.create(ANN, body(thread_id=uuid4()))


@pytest.mark.parametrize("nothing", [{}, {"command": {}}, {"command": {"resume": None}}])
async def test_a_thread_does_not_start_without_input(line: Platform, nothing: dict[str, Any]) -> None:
    thread = await line.threads.create(ANN)

    for where in ({}, {"thread_id": thread.thread_id}, {"thread_id": uuid4(), "if_not_exists": "create"}):
        with pytest.raises(InvalidInputError, match="give --input"):
            await line.runs.create(ANN, body(input=None, **nothing, **where))

    assert await line.runs.search(ANN) == []
    assert [row.thread_id for row in await line.threads.search(ANN)] == [thread.thread_id]


async def test_a_run_without_input_may_wait_behind_the_one_that_has_it(line: Platform) -> None:
    first = await line.runs.create(ANN, body())

    second = await line.runs.create(ANN, body(input=None, thread_id=first.thread_id))

    assert (second.seq, second.status) == (2, "pending")


async def test_an_input_that_is_too_large_is_refused(deployment: Deployment) -> None:
    line = await deployment.open(agent(echo), worker=False, input_max_bytes=1000)

    with pytest.raises(InvalidInputError, match="input_max_bytes"):
        await line.runs.create(ANN, body(input={"text": "x" * 1001}))
    assert await line.threads.search(ANN) == []


async def test_an_answer_that_is_too_large_is_refused_and_its_ask_waits_on(deployment: Deployment) -> None:
    platform = await deployment.open(agent(ask), input_max_bytes=1000)
    run = await platform.run("agent", {"text": "a"})
    ask_id = run.waiting[0].id

    with pytest.raises(
        InvalidInputError, match=r"The answer is 1,005 bytes as JSON; .* \(setting input_max_bytes\)"
    ):
        await platform.resume(run.thread_id, {ask_id: Answer("respond", "x" * 1001)})
    with pytest.raises(InvalidInputError, match="The answers are"):
        await platform.resume(run.thread_id, {each: Answer("respond", "x" * 600) for each in (ask_id, uuid4())})

    assert (await platform.asks.get(platform.caller, str(ask_id))).state == "open"
    assert (await platform.resume(run.thread_id, {ask_id: Answer("respond", "x" * 900)})).status == "success"


async def test_an_input_that_postgresql_refuses_is_cleaned_and_flagged(line: Platform) -> None:
    run = await line.runs.create(ANN, body(input={"text": "a\x00b\ud800", "n": float("nan")}))

    assert run.is_sanitised
    assert (await line.runs.get(ANN, run.run_id)).kwargs["input"] == {"text": "a\ufffdb\ufffd", "n": None}


async def test_a_pending_run_is_cancelled_at_once(line: Platform) -> None:
    first = await line.runs.create(ANN, body())
    second = await line.runs.create(ANN, body(thread_id=first.thread_id))

    cancelled = await line.runs.cancel(ANN, first.run_id)

    assert cancelled is not None
    assert cancelled.status == "interrupted"
    assert cancelled.finished_at is not None
    assert (await line.threads.get(ANN, first.thread_id)).status == "busy"
    await line.runs.cancel(ANN, second.run_id)
    assert (await line.threads.get(ANN, first.thread_id)).status == "idle"
    assert [event.event async for event in line.follow(first.run_id)] == ["end"]


async def test_the_answers_of_a_run_that_was_cancelled_in_line_can_be_given_again(deployment: Deployment) -> None:
    first = await deployment.open(agent(ask))
    waiting = await first.run("agent", {"text": "hi"})
    await first.close()
    line = await deployment.open(agent(ask), worker=False)
    run_id = await line.submit("agent", Command(resume="yes"), thread_id=waiting.thread_id)
    [answered] = await line.asks.search(line.caller, state=None)

    await line.cancel(run_id)

    [reopened] = await line.asks.search(line.caller, state=None)
    assert (answered.state, reopened.state) == ("answered", "open")
    assert (await line.threads.get(line.caller, waiting.thread_id)).status == "interrupted"
    platform = await deployment.open(agent(ask))
    run = await platform.resume(waiting.thread_id, {reopened.ask_id: Answer("respond", "no")})
    assert (run.status, run.output) == ("success", {"text": "no"})


async def test_a_run_that_was_given_back_can_be_cancelled(line: Platform, deployment: Deployment) -> None:
    run = await line.runs.create(ANN, body())
    await deployment.sql("UPDATE perron.runs SET epoch = 2")
    await deployment.sql(
        "INSERT INTO perron.run_events (run_id, epoch, n, n_first, event) VALUES (%s, 2, 1, 1, 'metadata')",
        run.run_id,
    )

    await line.runs.cancel(ANN, run.run_id)

    assert [(event.id, event.event) async for event in line.follow(run.run_id)] == [
        ("2-1", "metadata"),
        ("3-1", "end"),
    ]


async def test_cancel_of_a_finished_run_is_refused(deployment: Deployment) -> None:
    platform = await deployment.open(agent(echo))
    run = await platform.run("agent", {"text": "hi"})

    with pytest.raises(RunEndedError, match="success"):
        await platform.cancel(run.run_id)
    with pytest.raises(RunEndedError, match="nothing to retry"):
        await platform.retry(run.run_id)


async def test_a_failed_run_is_retried_from_where_it_stopped(deployment: Deployment) -> None:
    starts = 0

    def flaky(state: State) -> State:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise RuntimeError("not yet")
        return {"text": state["text"] + "!"}

    platform = await deployment.open(agent(flaky))
    failed = await platform.run("agent", {"text": "hi"})

    run = await platform.retry(failed.run_id)

    assert (failed.status, run.status, run.output) == ("error", "success", {"text": "hi!"})
    assert run.thread_id == failed.thread_id
    retried = await platform.runs.get(platform.caller, run.run_id)
    assert retried.metadata_["retry_of"] == str(failed.run_id)


async def test_a_retry_of_a_resume_whose_node_failed_has_its_answer(deployment: Deployment) -> None:
    answers: list[str] = []

    def ask_and_fail(state: State) -> State:
        answers.append(str(interrupt({"question": "really?"})))
        if len(answers) == 1:
            raise RuntimeError("not yet")
        return {"text": answers[-1]}

    platform = await deployment.open(agent(ask_and_fail))
    waiting = await platform.run("agent", {"text": "hi"})
    failed = await waiting.waiting[0].respond("yes")

    run = await platform.retry(failed.run_id)

    assert (failed.status, run.status, run.output) == ("error", "success", {"text": "yes"})


async def test_a_retry_of_a_resume_that_always_died_asks_once_more(deployment: Deployment) -> None:
    first = await deployment.open(agent(ask))
    waiting = await first.run("agent", {"text": "hi"})
    await first.close()
    line = await deployment.open(agent(ask), worker=False)
    run_id = await line.submit("agent", Command(resume="yes"), thread_id=waiting.thread_id)
    await deployment.sql("UPDATE perron.runs SET epoch = 3, attempt = 3 WHERE run_id = %s", run_id)
    platform = await deployment.open(agent(ask))
    failed = await platform.join(run_id)

    retried = await platform.retry(run_id)

    [again] = retried.waiting
    assert (failed.status, again.question) == ("error", "really?")
    assert (await again.respond("no")).output == {"text": "no"}


async def test_a_run_that_was_cancelled_before_its_start_is_retried_with_its_input(deployment: Deployment) -> None:
    line = await deployment.open(agent(echo), worker=False)
    run_id = await line.submit("agent", {"text": "hi"})
    await line.cancel(run_id)
    platform = await deployment.open(agent(echo))

    assert (await platform.retry(run_id)).output == {"text": "hi"}


async def test_answers_to_what_does_not_wait_are_refused(deployment: Deployment) -> None:
    platform = await deployment.open(agent(echo), agent(ask, "asking"))
    done = await platform.run("agent", {"text": "hi"})
    waiting = await platform.run("asking", {"text": "hi"})
    thread_id, ask_id = waiting.thread_id, waiting.waiting[0].id

    with pytest.raises(NotWaitingError):
        await platform.resume(done.thread_id, {ask_id: Answer("respond", 1)})
    with pytest.raises(NotWaitingError):
        await platform.resume(thread_id, {uuid4(): Answer("respond", 1)})
    with pytest.raises(InvalidInputError, match="respond"):
        await platform.resume(thread_id, {ask_id: Answer("approve")})
    with pytest.raises(InvalidInputError, match="'f00d' is no ask id"):
        await platform.resume(thread_id, {"f00d": Answer("respond", 1)})
    with pytest.raises(NotWaitingError):
        await platform.runs.create(
            platform.caller, body(thread_id=thread_id, input=None, command={"resume": {"0" * 32: 1}})
        )

    assert (await waiting.waiting[0].respond("yes")).output == {"text": "yes"}
    with pytest.raises(NotWaitingError):
        await waiting.waiting[0].respond("again")


async def test_asks_are_named_by_text_too(deployment: Deployment) -> None:
    platform = await deployment.open(agent(ask, "asking"))
    waiting = await platform.run("asking", {"text": "hi"})

    run = await platform.resume(str(waiting.thread_id), {str(waiting.waiting[0].id): Answer("respond", "yes")})

    assert run.output == {"text": "yes"}


async def test_of_two_answers_at_once_one_is_taken(deployment: Deployment) -> None:
    platform = await deployment.open(agent(ask, "asking"))
    waiting = (await platform.run("asking", {"text": "hi"})).waiting[0]

    results = await asyncio.gather(*(waiting.respond(str(i)) for i in range(4)), return_exceptions=True)

    refused = [result for result in results if isinstance(result, (NotWaitingError, ThreadBusyError))]
    assert len(refused) == 3


async def test_a_resume_while_a_run_is_in_line_is_refused(deployment: Deployment) -> None:
    platform = await deployment.open(agent(ask, "asking"))
    waiting = await platform.run("asking", {"text": "hi"})
    await platform.submit("asking", {"text": "more"}, thread_id=waiting.thread_id, after_seconds=3600)

    with pytest.raises(ThreadBusyError):
        await waiting.waiting[0].respond("yes")


async def _waiting(deployment: Deployment) -> tuple[Platform, UUID, UUID, UUID]:
    """Let ann have a thread with a run that waits; return the platform and the ids of thread, run and ask."""
    platform = await deployment.open(agent(ask, "asking"), caller=ANN)
    waiting = await platform.run("asking", {"text": "hi"})
    return platform, waiting.thread_id, waiting.run_id, waiting.waiting[0].id


Use = Callable[[Platform, Caller, UUID, UUID, UUID], Awaitable[Any]]


@pytest.mark.parametrize(
    "use",
    [
        lambda p, c, thread, run, ask: p.threads.get(c, thread),
        lambda p, c, thread, run, ask: p.threads.transfer(c, thread, to="bob"),
        lambda p, c, thread, run, ask: p.runs.get(c, run),
        lambda p, c, thread, run, ask: p.runs.cancel(c, run),
        lambda p, c, thread, run, ask: p.runs.prepare_retry(c, run),
        lambda p, c, thread, run, ask: p.runs.create(c, body(thread_id=thread, assistant_id="asking")),
        lambda p, c, thread, run, ask: p.runs.create(
            c, body(thread_id=thread, assistant_id="asking"), answers={ask: Answer("respond", 1)}
        ),
        lambda p, c, thread, run, ask: p.asks.get(c, ask),
    ],
    ids=["thread", "transfer", "run", "cancel", "retry", "create", "answer", "ask"],
)
@pytest.mark.parametrize("caller", [BOB, Caller("ann", "other"), Caller("root", "other", is_admin=True)])
async def test_nobody_else_reaches_somebodys_things(deployment: Deployment, use: Use, caller: Caller) -> None:
    platform, thread_id, run_id, ask_id = await _waiting(deployment)

    with pytest.raises((ThreadNotFoundError, RunNotFoundError, AskNotFoundError)):
        await use(platform, caller, thread_id, run_id, ask_id)

    assert [ask.state for ask in await platform.asks.search(ANN)] == ["open"]


async def test_nobody_else_finds_somebodys_things(deployment: Deployment) -> None:
    platform, *_ = await _waiting(deployment)

    for caller in (BOB, Caller("ann", "other"), Caller("root", "other", is_admin=True)):
        assert await platform.threads.search(caller) == []
        assert await platform.runs.search(caller) == []
        assert await platform.asks.search(caller) == []
    for caller in (ANN, ROOT):
        assert len(await platform.threads.search(caller)) == 1
        assert len(await platform.runs.search(caller)) == 1
        assert len(await platform.asks.search(caller)) == 1


async def test_a_transferred_thread_is_wholly_the_new_owners(deployment: Deployment) -> None:
    platform, thread_id, run_id, ask_id = await _waiting(deployment)

    thread = await platform.threads.transfer(ANN, thread_id, to="bob")

    assert thread.owner == "bob"
    assert (await platform.runs.get(BOB, run_id)).owner == "bob"
    assert (await platform.asks.get(BOB, ask_id)).owner == "bob"
    with pytest.raises(ThreadNotFoundError):
        await platform.threads.get(ANN, thread_id)
    run = await platform.runs.create(
        BOB, body(assistant_id="asking", thread_id=thread_id, input=None), answers={ask_id: Answer("respond", "y")}
    )
    assert run.owner == "bob"


async def test_a_thread_with_a_run_in_line_is_not_transferred(line: Platform) -> None:
    run = await line.runs.create(ANN, body())

    with pytest.raises(ThreadBusyError):
        await line.threads.transfer(ANN, run.thread_id, to="bob")
    with pytest.raises(InvalidInputError):
        await line.threads.transfer(ANN, run.thread_id, to=" ")
