"""Copies of threads: they go on by themselves, and nothing is done twice or answered twice by accident."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from langgraph.types import interrupt
from tests.conftest import Deployment, State, chain

from perron import AskPerson, effect
from perron.errors import NotWaitingError, ThreadBusyError, ThreadNotFoundError
from perron.services.answer import Answer

sent: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    sent.clear()


@effect("copying.say", repeat=AskPerson)
async def say(text: str) -> str:
    """Say something."""
    sent.append(text)
    return f"said {text}"


async def greet(state: State) -> State:
    return {"log": [await say(f"hello {state['text']}")]}


async def ask(state: State) -> State:
    said = await say("one moment")
    return {"log": [said, str(interrupt("who?"))]}


async def everything(deployment: Deployment, thread_id: UUID) -> dict[str, Any]:
    """Return all that the database has of a thread, as rows."""
    found: dict[str, Any] = {}
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        found[table] = await deployment.sql(
            f"SELECT * FROM langgraph.{table} WHERE thread_id = %s ORDER BY 2, 3, 4, 5", str(thread_id)
        )
    for table in ("threads", "runs", "asks", "calls"):
        found[table] = await deployment.sql(
            f"SELECT * FROM perron.{table} WHERE thread_id = %s ORDER BY 1", thread_id
        )
    return found


async def test_a_copy_goes_on_by_itself_and_its_original_is_untouched(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))
    original = (await platform.run("agent", {"text": "ann"}, metadata={"a": 1})).thread_id
    before = await everything(deployment, original)

    copied = await platform.copy_thread(original)

    assert (await platform.state(copied)).values == (await platform.state(original)).values
    assert len(await platform.history(copied)) == len(await platform.history(original))
    run = await platform.run("agent", {"text": "bob"}, thread_id=copied)
    assert run.output["log"] == ["said hello ann", "said hello bob"]
    assert await everything(deployment, original) == before
    assert [r.run_id for r in await platform.runs.search(platform.caller, thread_id=copied)] == [run.run_id]
    later = await platform.run("agent", {"text": "cat"}, thread_id=original)
    assert later.output["log"] == ["said hello ann", "said hello cat"]
    assert sent == ["hello ann", "hello bob", "hello cat"]
    with pytest.raises(ThreadNotFoundError):
        await platform.copy_thread(UUID(int=7))


async def test_what_a_thread_waits_for_is_asked_again_in_its_copy(deployment: Deployment) -> None:
    """The node has made a call before it asked: the copy does not make it again by itself."""
    platform = await deployment.open(chain(greet, ask))
    original = (await platform.run("agent", {"text": "ann"})).thread_id
    [asked] = await platform.asks.search(platform.caller, thread_id=original)
    before = await everything(deployment, original)

    copied = await platform.copy_thread(original)

    assert (await platform.threads.get(platform.caller, copied)).status == "interrupted"
    assert await platform.asks.search(platform.caller, thread_id=copied) == []
    for answer in ({asked.ask_id: Answer("respond", "bob")},):
        with pytest.raises(NotWaitingError):
            await platform.resume(copied, answer)
    run = await platform.run("agent", None, thread_id=copied)
    [doubt] = run.waiting
    assert (doubt.kind, doubt.decisions) == ("mismatch", ("send", "abort"))
    assert "by the thread that this one was copied from" in doubt.question
    assert sent == ["hello ann", "one moment"]
    assert await everything(deployment, original) == before

    run = await platform.resume(copied, {doubt.id: Answer("send")})
    [again] = run.waiting
    assert again.id != asked.ask_id
    assert (await again.respond("cat")).output["log"] == ["said hello ann", "said one moment", "cat"]
    first = await platform.resume(original, {asked.ask_id: Answer("respond", "bob")})
    assert first.output["log"] == ["said hello ann", "said one moment", "bob"]
    assert sent == ["hello ann", "one moment", "one moment"]


async def test_a_thread_with_a_run_in_line_is_not_copied(deployment: Deployment) -> None:
    reached, open_ = asyncio.Event(), asyncio.Event()

    async def wait(state: State) -> State:
        reached.set()
        await open_.wait()
        return {"log": ["waited"]}

    platform = await deployment.open(chain(wait))
    thread = await platform.threads.create(platform.caller)
    run_id = await platform.submit("agent", {"text": "x"}, thread_id=thread.thread_id)
    await reached.wait()

    with pytest.raises(ThreadBusyError):
        await platform.copy_thread(thread.thread_id)

    open_.set()
    await platform.join(run_id)
    assert len(await deployment.sql("SELECT 1 FROM perron.threads")) == 1
