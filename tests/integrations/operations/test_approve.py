"""`approve(...)`: a node asks before it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, Field
from tests.integrations.conftest import Stopped

from perron.errors import OutsidePlatformError, Rejected
from perron.integrations.operations.approve import approve
from perron.integrations.run.context import running

if TYPE_CHECKING:
    from tests.integrations.conftest import ThreadDriver

    from perron.integrations.run.open_ask import OpenAsk

ARGS = {"payment": "p1", "cents": 9_000, "token": "canary"}


class Refund(BaseModel):
    payment: str
    cents: int = Field(ge=0)


async def ask(thread: ThreadDriver, args: Any = ARGS, question: str = "Refund?") -> Any:
    """Run the node once."""
    with running((await thread.execution()).context):
        return await approve(question, args=args)


async def question_of(thread: ThreadDriver, args: Any = ARGS) -> OpenAsk:
    """Run the node once, which stops it."""
    with pytest.raises(Stopped) as stopped:
        await ask(thread, args)
    (found,) = stopped.value.asks
    return found


async def test_an_approval_stops_the_run_with_a_question(thread: ThreadDriver) -> None:
    found = await question_of(thread)

    assert (found.kind, found.question) == ("approval", "Refund?")
    assert found.decisions == ("approve", "edit", "reject")
    assert found.arguments == {"payment": "p1", "cents": 9_000, "token": "[redacted]"}
    (row,) = await thread.calls()
    assert (row.operation, row.state, row.call_id) == ("approve", "in_doubt", found.call_id)


async def test_approve_returns_the_arguments_also_when_replayed(thread: ThreadDriver) -> None:
    await thread.decide(await question_of(thread), "approve")

    assert await ask(thread) == ARGS
    assert await ask(thread) == ARGS


async def test_edit_returns_the_edited_arguments_also_when_replayed(thread: ThreadDriver) -> None:
    await thread.decide(await question_of(thread), "edit", {"payment": "p1", "cents": 500})

    assert await ask(thread) == {"payment": "p1", "cents": 500}
    assert await ask(thread) == {"payment": "p1", "cents": 500}


async def test_an_edited_model_is_checked_and_comes_back_as_that_model(thread: ThreadDriver) -> None:
    args = Refund(payment="p1", cents=9_000)
    await thread.decide(await question_of(thread, args), "edit", {"payment": "p1", "cents": -1})

    again = await question_of(thread, args)
    await thread.decide(again, "edit", {"payment": "p1", "cents": 5})

    assert "cents" in again.question
    assert await ask(thread, args) == Refund(payment="p1", cents=5)


async def test_reject_raises_the_persons_words_also_when_replayed(thread: ThreadDriver) -> None:
    await thread.decide(await question_of(thread), "reject", "Too much.")

    for _ in range(2):
        with pytest.raises(Rejected, match="Too much"):
            await ask(thread)


async def test_other_arguments_need_another_approval(thread: ThreadDriver) -> None:
    await thread.decide(await question_of(thread), "approve")
    await ask(thread)

    changed = await question_of(thread, {"payment": "p1", "cents": 9_001})

    assert changed.arguments["cents"] == 9_001


async def test_approvals_and_calls_stop_together(thread: ThreadDriver) -> None:
    execution = await thread.execution()
    with running(execution.context):
        pending = [approve("One?", args=1), approve("Two?", args=2)]
        results = await asyncio.gather(*pending, return_exceptions=True)

    assert isinstance(results[0], Stopped)
    assert results[1] is results[0]
    assert [found.question for found in results[0].asks] == ["One?", "Two?"]


async def test_a_sync_node_asks_too(thread: ThreadDriver) -> None:
    await thread.decide(await question_of(thread), "approve")

    with running((await thread.execution()).context):
        approved = await asyncio.to_thread(approve.sync, "Refund?", args=ARGS)

    assert approved == ARGS


async def test_outside_a_run_it_says_so() -> None:
    with pytest.raises(OutsidePlatformError, match="approve"):
        await approve("Refund?", args={})
