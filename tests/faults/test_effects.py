"""A process is killed at each point of a call, for each class of repeat; the desk's own book is what counts.

What has to come of it stands in `docs/guarantees.md`, in the table under "The proof".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.faults.graphs import ADDRESS, PAYMENT
from tests.faults.playing import on_stage
from tests.faults.stage import Stage

GUARANTEES = Path(__file__).parents[2] / "docs" / "guarantees.md"
HELD = "hold_after"
KILLED_AT = {
    "before sent": "call.before_sent=kill",
    "after sent, before the bytes": "call.after_sent=kill",
    "after the effect, before the answer": HELD,
    "after the answer, before done": "call.after_answer=kill",
    "after done, before the checkpoint": "checkpoint.before=kill@3",
    "after the checkpoint, before the finish": "run.before_finish=kill",
}
KINDS = {
    "Harmless": "freeze",
    "SameKey": "refund",
    "LookUp": "ticket",
    "AskPerson": "message",
    "effect": "message",
}
COUNTED = {("Harmless", 2): "2 requests, 1 effect"}


def promised() -> list[Any]:
    """Read the table: point, class of repeat, and what has to come of it."""
    section = GUARANTEES.read_text(encoding="utf-8").partition("## The proof")[2].partition("\n## ")[0]
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in section.splitlines() if line.startswith("|")]
    cases = []
    for point, *cells in rows[2:]:
        point = point.replace("`", "")
        for do, outcome in zip(KINDS, cells, strict=True):
            name = re.sub(r"\W+", "-", point)
            cases.append(pytest.param(point, do, outcome, id=f"{do}-{name}"))
    return cases


async def killed(stage: Stage, point: str, do: str) -> None:
    """Let a process make the call and die at this point."""
    if KILLED_AT[point] == HELD:
        await stage.desk.arm(HELD)
        victim = await stage.run("act", {"do": do})
        await stage.desk.wait_held(30)
        victim.kill()
    else:
        victim = await stage.run("act", {"do": do}, failpoints=KILLED_AT[point])
    await victim.died()
    await stage.desk.release()


@pytest.mark.parametrize(("point", "do", "outcome"), promised())
@on_stage
async def test_a_killed_call_is_made_once_or_asked_for(stage: Stage, point: str, do: str, outcome: str) -> None:
    await killed(stage, point, do)

    run = await stage.resume()

    book = await stage.desk.book()
    seen = COUNTED.get((do, len(book)), str(len(book)))
    assert seen + (" and a question" if run["asks"] else "") == outcome
    assert {effect.kind for effect in book} <= {KINDS[do]}
    assert run["status"] == "success"
    if run["asks"]:
        assert [ask["kind"] for ask in run["asks"]] == ["unknown_outcome"]
        assert "result" not in run["output"]
    else:
        assert run["output"]["result"].items() >= expected(do, book[-1].n).items()
        assert run["output"]["log"] == [run["output"]["result"]["id"]]


def expected(do: str, n: int) -> dict[str, Any]:
    """Return what the desk has answered, as far as it is known."""
    match do:
        case "Harmless":
            return {"id": "card-1-1", "status": "frozen"}
        case "SameKey":
            return {"id": f"r-{n}", "payment": PAYMENT, "amount_cents": 700}
        case "LookUp":
            return {"id": f"t-{n}", "subject": "Lost card", "state": "open"}
    return {"id": f"m-{n}", "to": ADDRESS, "text": "Your card is frozen."}


@pytest.mark.parametrize("do", ["AskPerson", "effect"])
@on_stage
async def test_a_replayed_result_is_whole_though_people_see_less_of_it(stage: Stage, do: str) -> None:
    victim = await stage.run("act", {"do": do}, failpoints="call.after_done=kill")
    await victim.died()

    run = await stage.resume()

    (call,) = await stage.sql("SELECT arguments, result, sealed FROM perron.calls")
    (attempt,) = await stage.sql("SELECT response_body FROM perron.call_attempts")
    assert run["output"]["result"]["to"] == ADDRESS
    assert call["arguments"]["to"] == call["result"]["to"] == attempt["response_body"]["to"] == "[redacted]"
    assert call["sealed"] is None


@pytest.mark.parametrize("do", ["AskPerson", "effect"])
@on_stage
async def test_the_result_that_a_person_gives_is_the_calls(stage: Stage, do: str) -> None:
    await killed(stage, "after the effect, before the answer", do)
    (ask,) = (await stage.resume())["asks"]
    given = {"id": "m-7", "to": ADDRESS, "text": "Sent.", "created_at": "2026-01-01T00:00:00Z"}

    misfit = {ask["id"]: {"decision": "give_result", "value": {"id": "m-7"}}}
    refused = await (await stage.answering(misfit)).failure()
    run = await stage.answer(ask, "give_result", given)

    assert ask["decisions"] == ["give_result", "send", "abort"]
    assert "does not fit: 'to' is a required property" in refused
    assert run["output"]["result"] == given
    assert await stage.counts() == {"message": 1}


@pytest.mark.parametrize("do", ["AskPerson", "effect"])
@on_stage
async def test_a_person_may_have_it_sent(stage: Stage, do: str) -> None:
    await killed(stage, "after sent, before the bytes", do)
    (ask,) = (await stage.resume())["asks"]

    run = await stage.answer(ask, "send")

    assert run["output"]["result"]["to"] == ADDRESS
    assert await stage.counts() == {"message": 1}


@pytest.mark.parametrize("do", ["AskPerson", "effect"])
@on_stage
async def test_a_person_may_abort_it(stage: Stage, do: str) -> None:
    await killed(stage, "after the answer, before done", do)
    (ask,) = (await stage.resume())["asks"]

    run = await stage.answer(ask, "abort")

    assert (run["status"], run["error"]["error"]) == ("error", "Aborted")
    assert await stage.counts() == {"message": 1}


@pytest.mark.parametrize(
    ("failpoints", "messages", "asks"),
    [
        pytest.param("call.before_sent=kill", 1, 0, id="before-sent"),
        pytest.param("call.after_sent=kill", 0, 1, id="after-sent"),
        pytest.param("call.after_answer=kill", 1, 1, id="after-the-answer"),
        pytest.param("call.after_done=kill", 1, 0, id="after-done"),
    ],
)
@on_stage
async def test_a_persons_word_sends_once(stage: Stage, failpoints: str, messages: int, asks: int) -> None:
    await killed(stage, "after sent, before the bytes", "AskPerson")
    (ask,) = (await stage.resume())["asks"]
    victim = await stage.answering({ask["id"]: {"decision": "send"}}, failpoints=failpoints)
    await victim.died()

    run = await stage.resume()

    assert len(run["asks"]) == asks
    assert (await stage.counts()).get("message", 0) == messages
