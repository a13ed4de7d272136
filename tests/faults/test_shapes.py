"""Calls keep their place in graphs of all shapes: whatever comes back after a kill finds what was done."""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.playing import on_stage
from tests.faults.stage import Stage, until


async def texts(stage: Stage) -> list[str]:
    """Return what was written to the customer, sorted."""
    return sorted(effect.body["text"] for effect in await stage.desk.book(kind="message"))


async def refunds(stage: Stage) -> list[str]:
    """Return the payments that were refunded, sorted."""
    return sorted(effect.subject for effect in await stage.desk.book(kind="refund"))


async def is_answered(stage: Stage, decision: str, value: Any, *, failpoints: str = "") -> Any:
    """Start a process that answers the one open ask."""
    (ask,) = await stage.sql("SELECT ask_id FROM perron.asks WHERE state = 'open'")
    return await stage.answering(
        {str(ask["ask_id"]): {"decision": decision, "value": value}}, failpoints=failpoints
    )


@pytest.mark.parametrize(
    "failpoints",
    [
        "call.before_sent=kill",
        "call.after_done=kill",
        "writes.before=kill@1",
        "writes.before=kill@2",
        "run.before_finish=kill",
    ],
)
@pytest.mark.parametrize("agent", ["two_questions", "questions_inside"])
@on_stage
async def test_the_second_question_of_a_node_is_asked_though_its_process_dies_after_the_first_answer(
    stage: Stage, agent: str, failpoints: str
) -> None:
    if agent == "two_questions":
        failpoints = failpoints.replace("@2", "@1")  # the graph around the other one writes as well
    await (await stage.run(agent, {"log": []})).result()
    victim = await is_answered(stage, "respond", "yes", failpoints=failpoints)
    await victim.died()

    again = await stage.resume()
    asked = [ask["question"] for ask in again["asks"]]
    after_first = await texts(stage)
    run = await stage.answer(again["asks"][0], "respond", "no")

    assert asked == ["The second?"]
    assert after_first == ["first: yes"]
    assert run["output"]["log"] == ["yes", "no"]
    assert await texts(stage) == ["first: yes", "second: no"]


@pytest.mark.parametrize(
    "failpoints", ["call.after_done=kill", "checkpoint.before=kill", "run.before_finish=kill"]
)
@pytest.mark.parametrize("agent", ["two_questions", "questions_inside"])
@on_stage
async def test_the_last_answer_of_a_node_counts_once(stage: Stage, agent: str, failpoints: str) -> None:
    await (await stage.run(agent, {"log": []})).result()
    await (await is_answered(stage, "respond", "yes")).result()
    victim = await is_answered(stage, "respond", "no", failpoints=failpoints)
    await victim.died()

    run = await stage.resume()

    assert (run["asks"], run["output"]["log"]) == ([], ["yes", "no"])
    assert await texts(stage) == ["first: yes", "second: no"]


@pytest.mark.parametrize(
    "failpoints",
    [
        "checkpoint.before=kill@1",
        "checkpoint.before=kill@2",
        "checkpoint.before=kill@3",
        "call.after_done=kill",
        "run.before_finish=kill",
    ],
)
@on_stage
async def test_an_input_is_applied_once(stage: Stage, failpoints: str) -> None:
    victim = await stage.run("steps", {"log": ["input"]}, failpoints=failpoints)
    await victim.died()

    run = await stage.resume()

    assert run["output"]["log"] == ["input", "first", "second", "third"]
    assert await texts(stage) == ["first", "second", "third"]


@pytest.mark.parametrize(
    "failpoints",
    [
        "checkpoint.before=kill",
        "call.after_done=kill",
        "run.before_finish=kill",
    ],
)
@on_stage
async def test_an_update_by_command_is_applied_once(stage: Stage, failpoints: str) -> None:
    await (await stage.run("steps", {"log": ["input"]})).result()
    command = {"update": {"log": ["update"]}, "goto": "third"}
    victim = await stage.run("steps", command=command, failpoints=failpoints)
    await victim.died()

    run = await stage.resume()

    assert run["output"]["log"] == ["input", "first", "second", "third", "update", "third"]
    assert await texts(stage) == ["first", "second", "third", "third"]


@pytest.mark.parametrize(
    "failpoints",
    [
        "checkpoint.before=kill@1",
        "checkpoint.before=kill@2",
        "call.after_done=kill",
        "run.before_finish=kill",
    ],
)
@on_stage
async def test_an_answer_with_an_update_is_applied_once(stage: Stage, failpoints: str) -> None:
    await (await stage.run("paused", {"log": []})).result()
    command = {"resume": "answer", "update": {"log": ["update"]}}
    victim = await stage.run("paused", command=command, failpoints=failpoints)
    await victim.died()

    run = await stage.resume()

    assert run["asks"] == []
    assert run["output"]["log"] == ["first", "update", "answer", "second"]
    assert await texts(stage) == ["first", "second"]


def tool_calls(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the input that a model's message with these calls would be."""
    made = [{"name": name, "args": args, "id": f"call-{n}"} for n, (name, args) in enumerate(calls)]
    return {"messages": [{"role": "assistant", "content": "", "tool_calls": made}]}


PARALLEL = {
    "tools": tool_calls(*(("desk_refund", {"payment": f"pay-1-{n}", "amount_cents": 100}) for n in (1, 2, 2, 3))),
    "sync_tools": tool_calls(*(("pay_back", {"payment": f"pay-1-{n}"}) for n in (1, 2, 2, 3))),
}


@pytest.mark.parametrize(
    "failpoints",
    ["call.after_answer=kill", "call.after_done=kill@2", "call.after_done=kill@4", "run.before_finish=kill"],
)
@pytest.mark.parametrize("agent", PARALLEL)
@on_stage
async def test_parallel_tools_are_each_done_once(stage: Stage, agent: str, failpoints: str) -> None:
    victim = await stage.run(agent, PARALLEL[agent], failpoints=failpoints)
    await victim.died()

    run = await stage.resume()

    made = {effect.subject: f"r-{effect.n}" for effect in await stage.desk.book(kind="refund")}
    said = [message["content"] for message in run["output"]["messages"][1:]]
    assert run["asks"] == []
    assert await refunds(stage) == ["pay-1-1", "pay-1-2", "pay-1-2", "pay-1-3"]
    assert made["pay-1-1"] in said[0]
    assert made["pay-1-3"] in said[3]
    assert len(set(said)) == 4


@pytest.mark.parametrize("agent", ["tools", "sync_tools"])
@on_stage
async def test_a_tool_in_doubt_is_asked_for_and_its_neighbours_are_replayed(stage: Stage, agent: str) -> None:
    message = ("desk_send_message", {"to": "mara@mail.example", "text": "Hello"})
    refund = ("desk_refund", {"payment": "pay-1-1", "amount_cents": 100})
    if agent == "sync_tools":
        message, refund = ("write_to", {"text": "Hello"}), ("pay_back", {"payment": "pay-1-1"})
    await stage.desk.arm("hold_after", "POST /messages")
    victim = await stage.run(agent, tool_calls(message, refund))
    await stage.desk.wait_held(30)
    await calls_are_done(stage, 1)
    victim.kill()
    await victim.died()
    await stage.desk.release()

    waiting = await stage.resume()
    (ask,) = waiting["asks"]
    sent = (await stage.desk.book(kind="message"))[0]
    given = {"id": "m-given", "to": "mara@mail.example", "text": "Hello", "created_at": sent.at.isoformat()}
    run = await stage.answer(ask, "give_result", given)

    assert ask["kind"] == "unknown_outcome"
    assert "m-given" in run["output"]["messages"][1]["content"]
    assert await stage.counts() == {"message": 1, "refund": 1}


async def calls_are_done(stage: Stage, count: int) -> None:
    """Wait until so many calls have their result in the database."""

    async def are_done() -> bool:
        rows = await stage.sql("SELECT count(*) AS n FROM perron.calls WHERE state = 'done'")
        return bool(rows[0]["n"] >= count)

    await until(are_done, what=f"{count} calls are done")


@on_stage
async def test_of_calls_that_are_gathered_only_the_doubtful_one_is_asked_for(stage: Stage) -> None:
    await stage.desk.arm("hold_after", "POST /messages")
    victim = await stage.run("gathered", {"log": []})
    await stage.desk.wait_held(30)
    await calls_are_done(stage, 3)
    victim.kill()
    await victim.died()
    await stage.desk.release()

    waiting = await stage.resume()
    before = await stage.counts()
    (ask,) = waiting["asks"]
    sent = next(e for e in await stage.desk.book(kind="message") if e.body["text"] == ask["args"]["text"])
    given = {"id": f"m-{sent.n}", **sent.body, "created_at": sent.at.isoformat()}
    run = await stage.answer(ask, "give_result", given)

    assert before == await stage.counts() == {"message": 2, "refund": 1, "ticket": 1}
    ids = [f"{effect.kind.value[0]}-{effect.n}" for effect in await stage.desk.book()]
    assert sorted(run["output"]["log"]) == sorted(ids)
    first = next(e for e in await stage.desk.book(kind="message") if e.body["text"] == "one")
    assert run["output"]["log"][0] == f"m-{first.n}"


@pytest.mark.parametrize("failpoints", ["call.after_done=kill", "run.before_finish=kill"])
@on_stage
async def test_an_approval_among_gathered_calls_is_asked_for_once(stage: Stage, failpoints: str) -> None:
    victim = await stage.run("gathered_with_approval", {"log": []}, failpoints=failpoints)
    await victim.died()
    waiting = await stage.resume()
    (ask,) = waiting["asks"]
    before = await refunds(stage)
    approving = await stage.answering({ask["id"]: {"decision": "approve"}}, failpoints=failpoints)
    await approving.died()

    run = await stage.resume()

    assert (ask["kind"], before) == ("approval", ["pay-1-1"])
    assert run["asks"] == []
    assert await refunds(stage) == ["pay-1-1", "pay-1-2"]


SHAPES = {
    "around_None": ["first", "second", "third"],
    "around_True": ["first", "second", "third"],
    "around_False": ["first", "second", "third"],
    "calls_a_graph": ["after", "before", "first", "second"],
    "flow": ["first", "second"],
    "once": ["Welcome!"],
}


@pytest.mark.parametrize("kill", ["call.after_done=kill@1", "call.after_done=kill@2", "checkpoint.before=kill@2"])
@pytest.mark.parametrize("agent", SHAPES)
@on_stage
async def test_messages_in_a_graph_of_this_shape_are_sent_once(stage: Stage, agent: str, kill: str) -> None:
    if (agent, kill) == ("once", "call.after_done=kill@2"):
        kill = "call.after_done=kill@1"  # the second use of a key makes no call
    victim = await stage.run(agent, {"log": []}, failpoints=kill)
    await victim.died()

    run = await stage.resume()

    assert (run["status"], run["asks"]) == ("success", [])
    assert await texts(stage) == SHAPES[agent]


@pytest.mark.parametrize("agent", ["steps", "around_None", "around_True", "around_False"])
@on_stage
async def test_a_run_whose_processes_die_at_every_checkpoint_comes_to_its_end(stage: Stage, agent: str) -> None:
    # A subgraph has checkpoints of its input and its start too: that is further than three starts come.
    patient = {"PERRON_MAX_ATTEMPTS": "9"}
    victim = await stage.run(agent, {"log": []}, failpoints="checkpoint.before=kill@2", environment=patient)
    await victim.died()
    deaths = 1
    while (await stage.sql("SELECT status FROM perron.runs"))[0]["status"] == "running":
        process = await stage.successor(failpoints="checkpoint.before=kill@2", environment=patient)
        if await process.has_died():
            deaths += 1

    (run,) = await stage.sql("SELECT status, output FROM perron.runs")
    assert deaths > 2
    assert (run["status"], run["output"]["log"]) == ("success", ["first", "second", "third"])
    assert await texts(stage) == ["first", "second", "third"]


@pytest.mark.parametrize(
    "failpoints", ["call.after_done=kill@1", "call.after_done=kill@2", "call.before_sent=kill@2"]
)
@pytest.mark.parametrize("agent", ["flaky", "in_a_thread"])
@on_stage
async def test_a_message_and_a_refund_are_made_once(stage: Stage, agent: str, failpoints: str) -> None:
    victim = await stage.run(agent, {"log": []}, failpoints=failpoints)
    await victim.died()

    run = await stage.resume()

    book = await stage.desk.book()
    assert run["asks"] == []
    assert run["output"]["log"] == [f"{effect.kind.value[0]}-{effect.n}" for effect in book]
    assert await stage.counts() == {"message": 1, "refund": 1}


@pytest.mark.parametrize(
    "failpoints", ["call.after_answer=kill@2", "call.after_done=kill@2", "checkpoint.before=kill@3"]
)
@on_stage
async def test_tasks_that_are_fanned_out_each_get_their_own_result(stage: Stage, failpoints: str) -> None:
    victim = await stage.run("fanned_out", {"log": []}, failpoints=failpoints)
    await victim.died()

    run = await stage.resume()

    book = {effect.subject: f"r-{effect.n}" for effect in await stage.desk.book()}
    assert run["output"]["log"] == [f"pay-1-{n} pay-1-{n} {book[f'pay-1-{n}']}" for n in (1, 2, 3)]
    assert await refunds(stage) == ["pay-1-1", "pay-1-2", "pay-1-3"]
