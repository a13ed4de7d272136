"""Streams of runs: what comes, in which order, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.types import interrupt
from tests.conftest import Deployment, State, chain

from perron.core.event import Event
from perron.errors import InvalidInputError
from perron.plugins.agent import Agent


async def one(state: State) -> State:
    return {"text": "1", "log": ["one"]}


async def two(state: State) -> State:
    return {"text": "2", "log": ["two"]}


async def collect(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


def ids(events: list[Event]) -> list[str]:
    return [event.id for event in events]


async def test_a_stream_begins_with_metadata_and_ends(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))

    events = await collect(platform.stream("agent", {"text": "0"}, stream_mode=["updates"]))

    assert [event.event for event in events] == ["metadata", "updates", "updates", "end"]
    assert [event.data for event in events[1:3]] == [
        {"one": {"text": "1", "log": ["one"]}},
        {"two": {"text": "2", "log": ["two"]}},
    ]
    [run] = await platform.runs.search(platform.caller)
    assert events[0].data == {"run_id": str(run.run_id), "attempt": 1}
    assert events[-1].data == {"run_id": str(run.run_id), "status": "success"}


async def test_event_numbers_are_contiguous(deployment: Deployment) -> None:
    async def chatty(state: State) -> State:
        write = get_stream_writer()
        for i in range(1200):
            write(i)
        return {}

    platform = await deployment.open(chain(chatty))

    events = await collect(platform.stream("agent", {"text": ""}, stream_mode=["custom"]))

    assert [event.data for event in events if event.event == "custom"] == list(range(1200))
    rows = await deployment.sql("SELECT epoch, n, n_first FROM perron.run_events ORDER BY n")
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["n_first"] == row["n"] and row["epoch"] == 1 for row in rows)


async def test_values_are_read_from_the_checkpoints(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))

    events = await collect(platform.stream("agent", {"text": "0"}))

    assert [event.data for event in events if event.event == "values"] == [
        {"text": "0", "log": []},
        {"text": "1", "log": ["one"]},
        {"text": "2", "log": ["one", "two"]},
    ]
    kept = await deployment.sql("SELECT payload FROM perron.run_events WHERE event = 'values'")
    assert all(set(row["payload"]) == {"checkpoint_id", "interrupts"} for row in kept)


async def test_an_interrupt_is_shown_in_the_values(deployment: Deployment) -> None:
    def ask(state: State) -> State:
        return {"text": interrupt("who?")}

    platform = await deployment.open(chain(ask))

    events = await collect(platform.stream("agent", {"text": "0"}))

    [shown] = [event.data["__interrupt__"] for event in events if "__interrupt__" in (event.data or {})]
    assert [i["value"] for i in shown] == ["who?"]
    assert events[-1].event == "end"


async def test_messages_come_token_by_token(deployment: Deployment) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("good day to you")]))

    async def say(state: State) -> State:
        return {"text": str((await model.ainvoke("hi")).content)}

    platform = await deployment.open(chain(say))

    events = await collect(platform.stream("agent", {"text": ""}, stream_mode=["messages-tuple"]))

    chunks = [event.data for event in events if event.event == "messages"]
    assert "".join(chunk["content"] for chunk, _ in chunks) == "good day to you"
    assert all(about["langgraph_node"] == "say" for _, about in chunks)


async def test_events_of_subgraphs_carry_their_namespace(deployment: Deployment) -> None:
    inner = chain(one, two).build.compile()

    async def outer(state: State) -> Any:
        return await inner.ainvoke({"text": state["text"]})

    platform = await deployment.open(chain(outer))

    events = await collect(platform.stream("agent", {"text": ""}, stream_mode=["updates"], stream_subgraphs=True))

    updates = [
        (event.namespace.partition(":")[0], list(event.data)) for event in events if event.event == "updates"
    ]
    assert updates == [("outer", ["one"]), ("outer", ["two"]), ("", ["outer"])]


async def test_a_stream_goes_on_behind_any_event(deployment: Deployment) -> None:
    platform = await deployment.open(chain(one, two))
    events = await collect(platform.stream("agent", {"text": "0"}, stream_mode=["updates", "values"]))
    [run] = await platform.runs.search(platform.caller)

    for i, event in enumerate(events):
        rest = await asyncio.wait_for(collect(platform.follow(run.run_id, after=event.id)), 5)
        assert ids(rest) == ids(events)[i + 1 :]
    with pytest.raises(InvalidInputError, match="no event id"):
        await collect(platform.follow(run.run_id, after="x"))


async def test_all_readers_get_all_events_wherever_they_are(deployment: Deployment) -> None:
    gate = asyncio.Event()

    async def hold(state: State) -> State:
        await gate.wait()
        return {}

    platform = await deployment.open(chain(one, hold, two))
    elsewhere = await deployment.open(chain(one, hold, two), worker=False)
    run_id = await platform.submit("agent", {"text": "0"}, stream_mode=["updates"])
    early = [asyncio.create_task(collect(p.follow(run_id))) for p in (platform, platform, elsewhere)]
    async for event in elsewhere.follow(run_id):
        if event.event == "updates":
            break
    gate.set()
    await platform.join(run_id)

    streams = [*[await reader for reader in early], await collect(elsewhere.follow(run_id))]

    assert [event.event for event in streams[0]] == ["metadata", "updates", "updates", "updates", "end"]
    assert all(ids(stream) == ids(streams[0]) for stream in streams)


async def test_a_reader_that_stops_leaves_the_run_running(deployment: Deployment) -> None:
    gate = asyncio.Event()

    async def hold(state: State) -> State:
        await gate.wait()
        return {"log": ["held"]}

    platform = await deployment.open(chain(hold))
    async for _ in platform.stream("agent", {"text": ""}):
        break
    gate.set()
    [run] = await platform.runs.search(platform.caller)

    assert (await platform.join(run.run_id)).output["log"] == ["held"]


async def test_the_events_of_a_second_epoch_follow_the_first(deployment: Deployment) -> None:
    reached, starts = asyncio.Event(), 0

    async def deadly(state: State) -> State:
        nonlocal starts
        starts += 1
        if starts == 1:
            reached.set()
            await asyncio.Event().wait()
        return {"log": ["survived"]}

    platform = await deployment.open(chain(one, deadly))
    run_id = await platform.submit("agent", {"text": ""}, stream_mode=["updates"])
    reader = asyncio.create_task(collect(platform.follow(run_id)))
    await reached.wait()
    await deployment.declare_dead(platform)

    events = await reader

    assert [event.event for event in events] == ["metadata", "updates", "metadata", "updates", "end"]
    assert [event.id.partition("-")[0] for event in events] == ["1", "1", "2", "2", "2"]
    assert [event.data["attempt"] for event in events if event.event == "metadata"] == [1, 1]


async def test_a_failed_run_streams_its_error(deployment: Deployment) -> None:
    async def fail(state: State) -> State:
        raise ValueError("no \x00 luck")

    platform = await deployment.open(chain(one, fail))

    events = await collect(platform.stream("agent", {"text": ""}, stream_mode=["updates"]))

    assert [event.event for event in events] == ["metadata", "updates", "error", "end"]
    assert events[-2].data == {"error": "ValueError", "message": "no \ufffd luck"}


async def test_an_agent_that_cannot_be_built_ends_its_stream(deployment: Deployment) -> None:
    def build() -> Any:
        if is_broken:
            raise RuntimeError("nothing here")
        return chain(one).build

    is_broken = False
    platform = await deployment.open(Agent("agent", build), worker=False)
    run_id = await platform.submit("agent", {"text": ""})
    is_broken = True
    executing = await deployment.open(Agent("agent", build))

    events = await collect(executing.follow(run_id))

    assert events[-2].data["error"] == "AgentError"
    assert events[-1].data["status"] == "error"
