"""What becomes of a stream when its run has ended: for how long it can be read, and how it is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from tests.conftest import Deployment, State, chain

from perron.core.event import Event
from perron.core.platform import Platform
from perron.errors import CheckpointNotFoundError, EventsGoneError, InvalidInputError
from perron.plugins.agent import Agent
from perron.repositories.run_event import RunEventRepository
from perron.runtime.packing import MOST, TOKEN_EVENT, pack
from perron.services.event import EventService

WORDS = 150


def speakers() -> Agent:
    """Two nodes that talk at the same time, so that their tokens come mixed."""
    builder = StateGraph(State)
    for name in ("one", "two"):

        async def talk(state: State, name: str = name) -> State:
            model = GenericFakeChatModel(messages=iter([AIMessage(f"{name} " * WORDS)]))
            get_stream_writer()(f"{name} begins")
            async for _ in model.astream("go on"):
                await asyncio.sleep(0)
            return {"log": [name]}

        builder.add_node(name, talk)
        builder.add_edge(START, name)
    return Agent("agent", builder)


async def read(platform: Platform, run_id: UUID, after: str = "") -> list[Event]:
    return [event async for event in platform.follow(run_id, after=after)]


async def tidied(deployment: Deployment, platform: Platform) -> None:
    """Let a minute pass, and several processes tidy at once."""
    await deployment.sql("UPDATE perron.ended_streams SET ended_at = ended_at - interval '1 minute'")
    tidying = EventService(platform._opened.shared.database)
    await asyncio.gather(*(tidying.tidy() for _ in range(4)))
    assert await deployment.sql("SELECT 1 FROM perron.ended_streams") == []


def text_of(events: list[Event]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for event in events:
        if event.event == "messages":
            message, about = event.data
            texts[about["langgraph_node"]] = texts.get(about["langgraph_node"], "") + message["content"]
    return texts


async def test_no_reader_notices_that_token_events_were_packed(deployment: Deployment) -> None:
    platform = await deployment.open(speakers())
    modes = ["messages-tuple", "custom", "updates"]
    slow = platform.stream("agent", {"text": ""}, stream_mode=modes, stream_resumable=True)
    first_half = [await anext(slow) for _ in range(200)]
    [run] = await platform.runs.search(platform.caller)
    await platform.join(run.run_id)
    before = await read(platform, run.run_id)
    [size] = await deployment.sql("SELECT count(*) AS n, sum(pg_column_size(e)) AS bytes FROM perron.run_events e")

    await tidied(deployment, platform)

    [packed] = await deployment.sql(
        "SELECT count(*) AS n, sum(pg_column_size(e)) AS bytes FROM perron.run_events e"
    )
    assert size["n"] > 4 * WORDS
    assert packed["n"] < 20
    assert packed["bytes"] < size["bytes"] / 20
    assert await read(platform, run.run_id) == before
    elsewhere = await deployment.open(speakers(), worker=False)
    for place in (0, 1, 7, 50, 333, len(before) - 2, len(before) - 1):
        assert await read(elsewhere, run.run_id, after=before[place].id) == before[place + 1 :]
    assert first_half + [event async for event in slow] == before
    assert text_of(before) == {"one": "one " * WORDS, "two": "two " * WORDS}
    ranges = await deployment.sql("SELECT n_first, n FROM perron.run_events ORDER BY n")
    ends = [0, *(row["n"] for row in ranges)]
    assert [row["n_first"] for row in ranges] == [n + 1 for n in ends[:-1]]


async def test_what_is_not_resumable_can_be_read_for_a_minute(deployment: Deployment) -> None:
    async def talk(state: State) -> State:
        write = get_stream_writer()
        for i in range(600):
            write(i)
        return {"log": ["talked"]}

    async def fall_silent(state: State) -> State:
        raise ValueError("no more")

    platform = await deployment.open(chain(talk, fall_silent))
    elsewhere = await deployment.open(chain(talk, fall_silent), worker=False)
    run = await platform.run("agent", {"text": ""}, stream_mode=["custom", "values"])
    slow = elsewhere.follow(run.run_id)
    await anext(slow)
    before = await read(platform, run.run_id)
    timeline = await platform.timelines.get(platform.caller, run.run_id)

    await tidied(deployment, platform)

    kept = await deployment.sql("SELECT event FROM perron.run_events ORDER BY n")
    assert [row["event"] for row in kept] == ["metadata", "step", "step", "step", "step", "error", "end"]
    assert (await platform.timelines.get(platform.caller, run.run_id)).entries == timeline.entries
    for after in ("", "-1", before[0].id, before[300].id):
        with pytest.raises(EventsGoneError, match="kept for a minute after its end"):
            await read(elsewhere, run.run_id, after=after)
    assert [event.event for event in await read(elsewhere, run.run_id, after=before[-2].id)] == ["end"]
    assert await read(elsewhere, run.run_id, after=before[-1].id) == []
    with pytest.raises(EventsGoneError):
        [event async for event in slow]


async def test_a_gap_at_the_end_of_an_epoch_is_noticed(deployment: Deployment) -> None:
    reached, starts = asyncio.Event(), 0

    async def deadly(state: State) -> State:
        nonlocal starts
        starts += 1
        if starts == 1:
            get_stream_writer()("said once")
            get_stream_writer()("said last")
            reached.set()
            await asyncio.Event().wait()
        return {}

    platform = await deployment.open(chain(deadly))
    run_id = await platform.submit("agent", {"text": ""}, stream_mode=["custom"])
    await reached.wait()
    async for event in platform.follow(run_id):
        if event.data == "said last":
            break
    await deployment.declare_dead(platform)
    await platform.join(run_id)
    before = await read(platform, run_id)

    await tidied(deployment, platform)

    assert [event.event for event in before] == ["metadata", "custom", "custom", "metadata", "end"]
    with pytest.raises(EventsGoneError):
        await read(platform, run_id, after=before[0].id)
    assert await read(platform, run_id, after=before[2].id) == before[3:]


async def test_a_run_of_which_nothing_went_can_be_read_whole(deployment: Deployment) -> None:
    async def quiet(state: State) -> State:
        return {}

    platform = await deployment.open(chain(quiet))
    run = await platform.run("agent", {"text": ""}, stream_mode=["custom"])

    await tidied(deployment, platform)

    assert [event.event for event in await read(platform, run.run_id)] == ["metadata", "end"]


async def test_an_id_that_no_event_has_is_refused(deployment: Deployment) -> None:
    async def quiet(state: State) -> State:
        return {}

    platform = await deployment.open(chain(quiet))
    run = await platform.run("agent", {"text": ""}, stream_mode=["custom"])

    for after in ("x", "1-", "-5", "1-2-3", "1-99999999999", "\u0663-1"):
        with pytest.raises(InvalidInputError, match="is no event id"):
            await read(platform, run.run_id, after=after)
    for after in ("1-99", "7-1"):
        with pytest.raises(InvalidInputError, match=f"has no event {after}: its last is 1-4"):
            await read(platform, run.run_id, after=after)


async def test_a_state_whose_checkpoint_is_gone_is_not_made_up(deployment: Deployment) -> None:
    async def quiet(state: State) -> State:
        return {}

    platform = await deployment.open(chain(quiet))
    run = await platform.run("agent", {"text": ""})
    await deployment.sql("DELETE FROM langgraph.checkpoints")

    with pytest.raises(CheckpointNotFoundError):
        await read(platform, run.run_id)


async def test_a_thread_that_is_deleted_while_its_events_are_packed_leaves_none(deployment: Deployment) -> None:
    platform = await deployment.open(speakers())
    await platform.run(
        "agent", {"text": ""}, stream_mode=["messages-tuple"], stream_resumable=True, on_completion="delete"
    )
    await deployment.sql("UPDATE perron.ended_streams SET ended_at = ended_at - interval '1 minute'")
    await deployment.sql("UPDATE perron.threads SET state_updated_at = state_updated_at - interval '1 minute'")
    database = platform._opened.shared.database
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async with database.begin() as session:
        events = RunEventRepository(session, platform.caller)
        [run_id] = await events.take_ended(resumable=True, ended_for=timedelta(minutes=1), limit=1)
        rows = await events.get_unpacked(run_id, event=TOKEN_EVENT, after=(0, 0), limit=MOST)
        await events.replace(pack(rows))
        deleting = asyncio.create_task(platform.threads.delete_temporary())
        while not deleting.done() and not await deployment.sql(waiting):
            pass  # asked of the database, it lets the loop run
    await deleting
    while await deployment.sql("SELECT 1 FROM perron.threads"):
        pass  # the platform's own chore was faster, and is not through

    assert await deployment.sql("SELECT 1 FROM perron.run_events") == []
