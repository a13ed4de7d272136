"""Runs through `Platform`, as a caller in Python sees them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import structlog
from langgraph.types import Command, Send, interrupt
from tests.conftest import Deployment, State, chain

from perron.caller import Caller
from perron.errors import AgentNotFoundError, InvalidInputError, RunFailedError, RunNotFoundError


async def greet(state: State) -> State:
    return {"text": f"hello {state['text']}", "log": ["greet"]}


def ask(state: State) -> State:
    return {"text": str(interrupt({"question": "who?", "why": "to know"})), "log": ["ask"]}


def fail(state: State) -> State:
    raise ValueError("no such luck")


async def test_a_run_returns_what_the_graph_did(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))

    run = await platform.run("agent", {"text": "ann"})

    assert (run.status, run.output, run.error, run.waiting) == (
        "success",
        {"text": "hello ann", "log": ["greet"]},
        None,
        (),
    )
    thread = await platform.threads.get(platform.caller, run.thread_id)
    assert (thread.status, thread.values) == ("idle", run.output)


async def test_the_runs_of_a_thread_share_its_state(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))

    first = await platform.run("agent", {"text": "ann"})
    second = await platform.run("agent", {"text": "bob"}, thread_id=str(first.thread_id))

    assert second.output == {"text": "hello bob", "log": ["greet", "greet"]}


async def test_a_submitted_run_is_joined_by_another_platform(deployment: Deployment) -> None:
    one = await deployment.open(chain(greet), worker=False)
    run_id = await one.submit("agent", {"text": "ann"})
    await deployment.open(chain(greet))

    run = await one.join(str(run_id))

    assert run.output["text"] == "hello ann"


async def test_of_two_platforms_each_takes_what_the_other_has_no_room_for(deployment: Deployment) -> None:
    both = asyncio.Barrier(2)

    async def meet(state: State) -> State:
        await both.wait()
        return {"log": ["met"]}

    one = await deployment.open(chain(meet), concurrency=1)
    await deployment.open(chain(meet), concurrency=1)

    runs = await asyncio.gather(one.run("agent", {"text": "a"}), one.run("agent", {"text": "b"}))

    assert [run.output["log"] for run in runs] == [["met"], ["met"]]


async def test_no_more_runs_execute_than_a_platform_has_room_for(deployment: Deployment) -> None:
    at_once: list[int] = []
    both = asyncio.Barrier(2)

    async def count(state: State) -> State:
        worker = platform._worker
        assert worker is not None
        await both.wait()
        await worker._claim_due()  # a look for more, while these two execute
        at_once.append(len(worker._executions))
        await both.wait()
        return {}

    platform = await deployment.open(chain(count), concurrency=2)

    await asyncio.gather(*(platform.run("agent", {"text": ""}) for _ in range(8)))

    assert at_once == [2] * 8


async def test_a_run_that_waits_is_answered_and_goes_on(deployment: Deployment) -> None:
    platform = await deployment.open(chain(ask, greet))

    run = await platform.run("agent", {"text": ""})

    [waiting] = run.waiting
    assert (run.status, waiting.kind, waiting.question) == ("success", "interrupt", "who?")
    assert (waiting.args, waiting.decisions) == ({"question": "who?", "why": "to know"}, ("respond",))
    thread = await platform.threads.get(platform.caller, run.thread_id)
    assert thread.status == "interrupted"
    [[shown]] = thread.interrupts.values()
    assert shown["value"] == {"question": "who?", "why": "to know"}

    done = await waiting.respond("ann")

    assert done.output == {"text": "hello ann", "log": ["ask", "greet"]}
    thread = await platform.threads.get(platform.caller, run.thread_id)
    assert (thread.status, thread.interrupts) == ("idle", {})
    [row] = await platform.asks.search(platform.caller, state=None)
    assert row.state == "answered"


@pytest.mark.parametrize("resume", ["ann", {"by": "id"}])
async def test_a_client_resumes_with_a_command(deployment: Deployment, resume: Any) -> None:
    platform = await deployment.open(chain(ask, greet))
    run = await platform.run("agent", {"text": ""})
    [ask_row] = await platform.asks.search(platform.caller)
    if isinstance(resume, dict):
        resume = {ask_row.interrupt_id: "ann"}

    done = await platform.run("agent", Command(resume=resume), thread_id=run.thread_id)

    assert done.output["text"] == "hello ann"


async def test_a_command_sends_input_to_a_node(deployment: Deployment) -> None:
    platform = await deployment.open(chain(ask, greet))
    run = await platform.run("agent", {"text": ""})

    done = await platform.run("agent", Command(goto=Send("greet", {"text": "bob"})), thread_id=run.thread_id)

    assert done.output["text"] == "hello bob"


async def test_a_run_that_fails_says_why(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet, fail))

    run = await platform.run("agent", {"text": "ann"})

    assert (run.status, run.output) == ("error", None)
    assert run.error == {"error": "ValueError", "message": "no such luck"}
    with pytest.raises(RunFailedError, match="no such luck"):
        run.raise_for_status()
    thread = await platform.threads.get(platform.caller, run.thread_id)
    assert (thread.status, thread.error, thread.values) == (
        "error",
        run.error,
        {"text": "hello ann", "log": ["greet"]},
    )


async def test_a_graph_that_does_not_end_fails_at_the_limit(deployment: Deployment) -> None:
    async def again(state: State) -> Command[Any]:
        return Command(goto="again", update={"log": ["again"]})

    agent = chain(again)
    platform = await deployment.open(agent, recursion_limit=5)

    run = await platform.run("agent", {"text": ""})

    assert run.status == "error"
    assert run.error is not None
    assert run.error["error"] == "GraphRecursionError"


async def test_a_run_that_takes_too_long_ends_as_timeout(deployment: Deployment) -> None:
    async def slow(state: State) -> State:
        await asyncio.Event().wait()
        return {}

    platform = await deployment.open(chain(greet, slow), run_timeout_s=0.3)

    run = await platform.run("agent", {"text": "ann"})

    assert run.status == "timeout"
    assert run.error == {"error": "TimeoutError", "message": "The run took longer than 0.3 s."}
    assert (await platform.threads.get(platform.caller, run.thread_id)).status == "error"


async def test_a_nodes_own_timeout_is_its_error(deployment: Deployment) -> None:
    async def impatient(state: State) -> State:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        return {}

    platform = await deployment.open(chain(impatient))

    run = await platform.run("agent", {"text": ""})

    assert (run.status, run.error and run.error["error"]) == ("error", "TimeoutError")


async def test_output_that_postgresql_refuses_is_replaced_and_flagged(deployment: Deployment) -> None:
    async def hostile(state: State) -> State:
        return {"text": "nul \x00 half \ud800", "log": [str(float("nan")), "\x00"]}

    platform = await deployment.open(chain(hostile, greet))

    run = await platform.run("agent", {"text": ""}, stream_mode=["values", "updates"])

    assert run.status == "success", run.error
    assert run.output["text"].startswith("hello nul \ufffd half \ufffd")
    assert run.output["log"][1] == "\ufffd"
    assert (await platform.runs.get(platform.caller, run.run_id)).is_sanitised


async def test_an_error_that_postgresql_refuses_is_recorded(deployment: Deployment) -> None:
    async def hostile(state: State) -> State:
        raise ValueError("nul \x00 half \ud800")

    platform = await deployment.open(chain(hostile))

    run = await platform.join(await platform.submit("agent", {"text": ""}))

    [row] = await deployment.sql("SELECT error FROM perron.runs")
    assert run.status == "error"
    assert row["error"]["message"] == "nul \ufffd half \ufffd"


async def test_a_run_stops_before_a_node_and_goes_on(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet, ask))

    run = await platform.run("agent", {"text": "ann"}, interrupt_before=["ask"])

    assert (run.status, run.waiting) == ("success", ())
    assert (await platform.threads.get(platform.caller, run.thread_id)).status == "interrupted"
    assert (await platform.state(run.thread_id)).next == ("ask",)
    goes_on = await platform.run("agent", None, thread_id=run.thread_id)
    assert [ask.question for ask in goes_on.waiting] == ["who?"]


async def test_a_delayed_run_waits_for_its_time(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))

    run_id = await platform.submit("agent", {"text": "ann"}, after_seconds=0.3)
    before = await platform.runs.get(platform.caller, run_id)
    run = await platform.join(run_id)

    after = await platform.runs.get(platform.caller, run_id)
    assert (before.status, run.status) == ("pending", "success")
    assert before.not_before is not None
    assert after.started_at is not None
    assert after.started_at >= before.not_before


async def test_a_caller_that_is_cancelled_leaves_its_run_running(deployment: Deployment) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def hold(state: State) -> State:
        reached.set()
        await gate.wait()
        return {"log": ["held"]}

    platform = await deployment.open(chain(hold))
    waiting = asyncio.create_task(platform.run("agent", {"text": ""}))
    await reached.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.set()
    [row] = await platform.runs.search(platform.caller)

    assert (await platform.join(row.run_id)).output["log"] == ["held"]


async def test_two_runs_with_one_idempotency_key_are_one(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))

    runs = await asyncio.gather(*(platform.run("agent", {"text": "ann"}, idempotency_key="k") for _ in range(3)))

    assert len({run.run_id for run in runs}) == 1
    assert runs[0].output["log"] == ["greet"]


async def test_bad_requests_are_refused_in_one_sentence(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))

    with pytest.raises(AgentNotFoundError, match="Did you mean 'agent'"):
        await platform.run("agnet", {"text": ""})
    with pytest.raises(InvalidInputError, match="stream_mode"):
        await platform.run("agent", {"text": ""}, stream_mode="vlaues")
    with pytest.raises(InvalidInputError, match="no thread id"):
        await platform.run("agent", {"text": ""}, thread_id="x")
    with pytest.raises(RunNotFoundError):
        await platform.join(uuid4())
    assert await platform.runs.search(platform.caller) == []


async def test_closing_leaves_nothing_running(deployment: Deployment) -> None:
    platform = await deployment.open(chain(ask))
    await platform.run("agent", {"text": ""})

    await platform.close()

    assert await deployment.sql("SELECT 1 FROM perron.workers") == []
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("perron-", "run "))]


async def test_the_values_of_variables_are_not_logged(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    async def leak(state: State) -> State:
        token = "canary-" + state["text"]
        raise ValueError(str(len(token)))

    structlog.reset_defaults()  # as in a program that has not configured its logs
    platform = await deployment.open(chain(leak))

    run = await platform.run("agent", {"text": "secret"})

    logged = capsys.readouterr()
    assert run.status == "error"
    assert "run_failed" in logged.out + logged.err
    assert "canary-secret" not in logged.out + logged.err


async def test_what_is_set_in_the_database_counts_when_a_platform_opens(deployment: Deployment) -> None:
    before = await deployment.open(chain(greet))
    await before.live_settings.set(Caller.system(), "input_max_bytes", 20)

    platform = await deployment.open(chain(greet))

    assert platform.settings.input_max_bytes == 20
    with pytest.raises(InvalidInputError, match="the most is 20"):
        await platform.run("agent", {"text": "a name of more than 20 bytes"})
    assert (await before.run("agent", {"text": "a name of more than 20 bytes"})).status == "success"
