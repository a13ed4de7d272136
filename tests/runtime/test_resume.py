"""Input, commands and answers reach the graph once, however often the run is claimed."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from tests.conftest import Deployment, until
from typing_extensions import TypedDict

from perron.core.platform import Platform
from perron.plugins.agent import Agent
from perron.services.answer import Answer


class Log(TypedDict, total=False):
    """What has happened, in order."""

    log: Annotated[list[str], operator.add]


class Trap:
    """Holds a run in a node until its worker is declared dead; does nothing before it is set, and after."""

    def __init__(self) -> None:
        self.is_set = False
        self.reached = asyncio.Event()

    async def pass_by(self) -> None:
        if self.is_set:
            self.is_set = False
            self.reached.set()
            await asyncio.Event().wait()


def graph(*nodes: Callable[[Log], Any], start: tuple[str, ...] | None = None) -> Agent:
    """Make an agent: the nodes in `start` run side by side, by default the others follow the first."""
    builder = StateGraph(Log)
    names = [node.__name__ for node in nodes]
    for node in nodes:
        builder.add_node(node.__name__, RunnableLambda(node))
    for name in start or names[:1]:
        builder.add_edge(START, name)
    for before, after in pairwise(names if start is None else ()):
        builder.add_edge(before, after)
    for name in start or names[-1:]:
        builder.add_edge(name, END)
    return Agent("agent", builder)


@asynccontextmanager
async def killed_in(trap: Trap, deployment: Deployment, platform: Platform) -> AsyncIterator[None]:
    """Start a run in the block; it is killed in the trap, and comes back."""
    trap.reached.clear()
    trap.is_set = True
    yield
    await trap.reached.wait()
    await deployment.declare_dead(platform)


async def test_input_is_applied_once(deployment: Deployment) -> None:
    trap = Trap()

    async def first(state: Log) -> Log:
        return {"log": ["first"]}

    async def second(state: Log) -> Log:
        await trap.pass_by()
        return {"log": ["second"]}

    platform = await deployment.open(graph(first, second))
    for times in (1, 2):
        async with killed_in(trap, deployment, platform):
            run_id = await platform.submit(
                "agent",
                {"log": ["input"]},
                thread_id="01900000-0000-7000-8000-000000000001",
                if_not_exists="create",
            )
        run = await platform.join(run_id)

        assert run.output == {"log": ["input", "first", "second"] * times}


@pytest.mark.parametrize(
    ("command", "log"),
    [
        (Command(update={"log": ["update"]}), ["update"]),
        (Command(goto="second"), ["second"]),
        (Command(update={"log": ["update"]}, goto="second"), ["update", "second"]),
    ],
)
async def test_a_command_is_applied_once(deployment: Deployment, command: Command[Any], log: list[str]) -> None:
    trap = Trap()

    async def first(state: Log) -> Log:
        await trap.pass_by()
        return {"log": ["first"]}

    async def second(state: Log) -> Log:
        await trap.pass_by()
        return {"log": ["second"]}

    platform = await deployment.open(graph(first, second))
    before = await platform.run("agent", {"log": ["input"]}, interrupt_before=["first"])
    async with killed_in(trap, deployment, platform):
        run_id = await platform.submit("agent", command, thread_id=before.thread_id)

    run = await platform.join(run_id)

    assert run.status == "success", run.error
    assert sorted(run.output["log"]) == sorted(["input", *log, "first", "second"])


async def test_an_answer_that_was_not_taken_before_the_kill_is_given_again(deployment: Deployment) -> None:
    trap = Trap()

    async def ask(state: Log) -> Log:
        await trap.pass_by()
        return {"log": [interrupt("one?"), interrupt("two?")]}

    platform = await deployment.open(graph(ask))
    waiting = await platform.run("agent", {"log": []})
    async with killed_in(trap, deployment, platform):
        resumed = asyncio.create_task(waiting.waiting[0].respond("1"))

    again = await resumed
    assert [ask.question for ask in again.waiting] == ["two?"]

    done = await again.waiting[0].respond("2")
    assert done.output == {"log": ["1", "2"]}


@asynccontextmanager
async def killed_at_its_end(deployment: Deployment, platform: Platform, pause: Pause) -> AsyncIterator[None]:
    """Start a run in the block; it is killed when its graph has stopped and nothing says so yet."""
    pause.reached.clear()
    pause.over.clear()
    yield
    await pause.reached.wait()
    async with deployment.connect() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM perron.threads FOR NO KEY UPDATE")  # the end waits for this
        pause.over.set()
        await deployment.waits_for_a_lock()
        [worker] = await deployment.sql("SELECT worker_id FROM perron.workers")
        await deployment.declare_dead(platform)
        gone = (None, worker["worker_id"])
        await until(lambda: platform._worker is not None and platform._worker.worker_id not in gone)


class Pause:
    """A place in a node that the test sees, and where it can hold it."""

    def __init__(self) -> None:
        self.reached, self.over = asyncio.Event(), asyncio.Event()
        self.over.set()

    async def pass_by(self) -> None:
        self.reached.set()
        await self.over.wait()


async def test_an_answer_that_was_taken_does_not_answer_the_next_question(deployment: Deployment) -> None:
    pause = Pause()

    async def ask(state: Log) -> Log:
        await pause.pass_by()
        return {"log": [interrupt("one?"), interrupt("two?"), interrupt("three?")]}

    platform = await deployment.open(graph(ask))
    run = await platform.run("agent", {"log": []})
    for answer, question in (("1", "two?"), ("2", "three?")):
        async with killed_at_its_end(deployment, platform, pause):
            resuming = asyncio.create_task(run.waiting[0].respond(answer))
        run = await resuming

        assert run.status == "success", run.error
        assert [ask.question for ask in run.waiting] == [question]
    assert await deployment.sql("SELECT seq, epoch FROM perron.runs ORDER BY seq") == [
        {"seq": 1, "epoch": 1},
        {"seq": 2, "epoch": 2},
        {"seq": 3, "epoch": 2},
    ]

    done = await run.waiting[0].respond("3")

    assert done.output == {"log": ["1", "2", "3"]}


async def test_of_two_answers_only_the_one_that_still_waits_is_given_again(deployment: Deployment) -> None:
    trap = Trap()
    left_done = asyncio.Event()

    async def left(state: Log) -> Log:
        answer = interrupt("left?")
        left_done.set()
        return {"log": [f"left {answer}"]}

    async def right(state: Log) -> Log:
        answer = interrupt("right?")
        await left_done.wait()
        await trap.pass_by()
        return {"log": [f"right {answer}"]}

    platform = await deployment.open(graph(left, right, start=("left", "right")))
    waiting = await platform.run("agent", {"log": []})
    by_question = {ask.question: ask for ask in waiting.waiting}
    answers = {by_question[q].id: Answer("respond", q[:1]) for q in ("left?", "right?")}
    async with killed_in(trap, deployment, platform):
        resuming = asyncio.create_task(platform.resume(waiting.thread_id, answers))

    run = await resuming

    assert run.status == "success", run.error
    assert (run.waiting, sorted(run.output["log"])) == ((), ["left l", "right r"])


async def test_answers_that_are_behind_a_checkpoint_are_dropped(deployment: Deployment) -> None:
    trap = Trap()

    async def ask(state: Log) -> Log:
        return {"log": [interrupt("one?")]}

    async def after(state: Log) -> Log:
        await trap.pass_by()
        return {"log": ["after"]}

    platform = await deployment.open(graph(ask, after))
    waiting = await platform.run("agent", {"log": []})
    async with killed_in(trap, deployment, platform):
        resuming = asyncio.create_task(waiting.waiting[0].respond("1"))

    run = await resuming

    assert (run.status, run.output) == ("success", {"log": ["1", "after"]})


async def test_one_of_two_is_answered_and_the_other_waits_for_the_new_run(deployment: Deployment) -> None:
    async def left(state: Log) -> Log:
        return {"log": [f"left {interrupt('left?')}"]}

    async def right(state: Log) -> Log:
        return {"log": [f"right {interrupt('right?')}"]}

    platform = await deployment.open(graph(left, right, start=("left", "right")))
    first = await platform.run("agent", {"log": []})
    by_question = {ask.question: ask for ask in first.waiting}

    second = await by_question["left?"].respond("l")

    assert [ask.question for ask in second.waiting] == ["right?"]
    assert second.waiting[0].id == by_question["right?"].id
    asks = await platform.asks.search(platform.caller)
    assert [(ask.run_id, ask.state) for ask in asks] == [(second.run_id, "open")]
    third = await second.waiting[0].respond("r")
    assert sorted(third.output["log"]) == ["left l", "right r"]


async def test_an_answer_and_an_update_in_one_command_are_each_applied_once(deployment: Deployment) -> None:
    trap = Trap()

    async def ask(state: Log) -> Log:
        answer = interrupt("one?")
        await trap.pass_by()
        return {"log": [f"answer {answer}"]}

    platform = await deployment.open(graph(ask))
    waiting = await platform.run("agent", {"log": []})
    command: Command[Any] = Command(resume="1", update={"log": ["update"]})
    async with killed_in(trap, deployment, platform):
        run_id = await platform.submit("agent", command, thread_id=waiting.thread_id)

    run = await platform.join(run_id)

    assert (run.status, sorted(run.output["log"])) == ("success", ["answer 1", "update"])
