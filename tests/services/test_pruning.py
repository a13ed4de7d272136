"""Threads that go, or keep their newest state: never under a run, a cron or a person who still decides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, TypedDict
from uuid import UUID

import pytest
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from tests.conftest import Deployment, State, chain

from perron import AskPerson, effect
from perron.caller import Caller
from perron.core.platform import Platform
from perron.errors import InvalidInputError
from perron.ids import new_id
from perron.plugins.agent import Agent
from perron.schemas.cron import CronCreate, CronUpdate
from perron.schemas.thread import ThreadUpdate, Ttl
from perron.services.answer import Answer
from perron.services.pruning import PruneService

sent: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    sent.clear()


@effect("pruning.say", repeat=AskPerson)
async def say(text: str) -> str:
    """Say something."""
    sent.append(text)
    return f"said {text}"


async def greet(state: State) -> State:
    return {"log": [await say(f"hello {state['text']}")]}


async def ask(state: State) -> State:
    """Say something, then wait for a person, or fail: the call was made in a step that is not done."""
    said = await say(f"about {state['text']}")
    if state["text"] == "fail":
        raise ValueError("no such luck")
    answer = interrupt("who?") if state["text"] == "ask" else "nobody"
    return {"log": [said, str(answer)]}


def append(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(item for write in writes for item in write)]


class Deltas(TypedDict):
    log: Annotated[list[str], DeltaChannel(append)]


def deltas() -> Agent:
    async def add(state: Deltas) -> dict[str, list[str]]:
        return {"log": ["one"]}

    return Agent("deltas", StateGraph(Deltas).add_node("add", add).add_edge(START, "add").add_edge("add", END))


async def thread_of(platform: Platform, text: str, *, agent: str = "agent", ttl: float | None = None) -> UUID:
    """Make a thread and run the agent on it."""
    lasts = None if ttl is None else Ttl(ttl=ttl)
    thread_id = (await platform.threads.create(platform.caller, ttl=lasts)).thread_id
    await platform.run(agent, {"log": ["zero"]} if agent == "deltas" else {"text": text}, thread_id=thread_id)
    return thread_id


async def rows_of(deployment: Deployment, thread_id: UUID) -> dict[str, int]:
    """Count what there is of a thread, by table."""
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
    counted = {f"langgraph.{table}": str(thread_id) for table in tables}
    counted |= {"perron.threads": thread_id, "perron.runs": thread_id, "perron.asks": thread_id}  # type: ignore[dict-item]
    found = {}
    for table, key in counted.items():
        [row] = await deployment.sql(f"SELECT count(*) AS n FROM {table} WHERE thread_id = %s", key)
        found[table.partition(".")[2]] = int(row["n"])
    return found


async def pass_time(deployment: Deployment, minutes: float) -> None:
    """Let the database's clock be later for all threads."""
    await deployment.sql(
        "UPDATE perron.threads SET updated_at = updated_at - make_interval(secs => %s)", minutes * 60
    )


async def test_a_deleted_thread_leaves_only_its_calls(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))
    going, staying = await thread_of(platform, "ann"), await thread_of(platform, "bob")
    before = await rows_of(deployment, staying)

    [pruned] = await platform.pruning.prune(platform.caller, [going])

    assert pruned.kept is None
    assert set((await rows_of(deployment, going)).values()) == {0}
    assert await rows_of(deployment, staying) == before
    events = await deployment.sql("SELECT DISTINCT run_id FROM perron.run_events")
    assert len(events) == len(await deployment.sql("SELECT run_id FROM perron.runs")) == 1
    assert len(await platform.calls.search(platform.caller, thread_id=going)) == 1


async def test_keep_latest_leaves_the_state_and_the_thread_goes_on(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))
    thread_id = await thread_of(platform, "ann")
    await platform.run("agent", {"text": "bob"}, thread_id=thread_id)
    before = (await platform.state(thread_id)).values

    [dry] = await platform.pruning.prune(platform.caller, [thread_id], strategy="keep_latest", dry_run=True)
    assert (dry.kept, (await rows_of(deployment, thread_id))["checkpoints"]) == (None, 6)
    [pruned] = await platform.pruning.prune(platform.caller, [thread_id], strategy="keep_latest")

    assert (pruned.kept, (await rows_of(deployment, thread_id))["checkpoints"]) == (None, 1)
    assert (await platform.state(thread_id)).values == before
    run = await platform.run("agent", {"text": "cat"}, thread_id=thread_id)
    assert run.output["log"] == ["said hello ann", "said hello bob", "said hello cat"]


async def test_a_thread_that_uses_a_delta_channel_is_left_whole(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet), deltas())
    thread_id = await thread_of(platform, "", agent="deltas")
    before = await rows_of(deployment, thread_id)

    for dry_run in (True, False):
        [kept] = await platform.pruning.prune(
            platform.caller, [thread_id], strategy="keep_latest", dry_run=dry_run
        )
        assert "DeltaChannel" in str(kept.kept)

    assert await rows_of(deployment, thread_id) == before
    await platform.threads.update(platform.caller, thread_id, ThreadUpdate(ttl=Ttl(ttl=1, strategy="keep_latest")))
    await pass_time(deployment, 2)
    await platform.pruning.expire_due()
    assert await rows_of(deployment, thread_id) == before
    assert (await platform.run("deltas", {"log": ["two"]}, thread_id=thread_id)).output == {
        "log": ["zero", "one", "two", "one"]
    }


async def test_what_is_used_stays(deployment: Deployment) -> None:
    platform = await deployment.open(chain(ask), worker=True)
    waiting = await thread_of(platform, "ask")
    delayed = await thread_of(platform, "x")
    await platform.submit("agent", {"text": "later"}, thread_id=delayed, after_seconds=3600)
    timed = await thread_of(platform, "x")
    cron = await platform.crons.create(
        platform.caller,
        CronCreate(assistant_id="agent", schedule="0 9 * * *", thread_id=timed, input={"text": "x"}),
    )
    absent = UUID(int=7)

    async def reasons(**options: Any) -> list[str]:
        ids = [waiting, delayed, timed, absent]
        return [str(each.kept) for each in await platform.pruning.prune(platform.caller, ids, **options)]

    for strategy in ("delete", "keep_latest"):
        assert await reasons(strategy=strategy) == [
            "It waits for a person, or stands in the middle.",
            "A run of it is in line.",
            "It has a cron that has not ended.",
            "There is no such thread.",
        ]
    await platform.crons.update(platform.caller, cron.cron_id, CronUpdate(enabled=False))
    assert (await reasons())[2] == "It has a cron that has not ended."
    assert (await reasons(waiting=True, strategy="keep_latest"))[:2] == ["None", "A run of it is in line."]
    # What waited goes on as if nothing had been: its call is not made again.
    [open_ask] = await platform.asks.search(platform.caller, thread_id=waiting)
    run = await platform.resume(waiting, {open_ask.ask_id: Answer("respond", "ann")})
    assert run.output["log"] == ["said about ask", "ann"]
    assert sent.count("about ask") == 1
    assert [str(each.kept) for each in await platform.pruning.prune(Caller("eve"), [waiting])] == [
        "There is no such thread."
    ]
    with pytest.raises(InvalidInputError, match="delete or keep_latest"):
        await platform.pruning.prune(platform.caller, [waiting], strategy="all")  # type: ignore[arg-type]


async def test_a_failed_thread_that_keeps_its_latest_is_retried_without_new_calls(
    deployment: Deployment,
) -> None:
    platform = await deployment.open(chain(greet, ask))
    thread_id = await thread_of(platform, "fail")
    [run] = await platform.runs.search(platform.caller, thread_id=thread_id)

    await platform.pruning.prune(platform.caller, [thread_id], strategy="keep_latest")
    again = await platform.retry(run.run_id)

    assert again.status == "error"
    assert sent == ["hello fail", "about fail"]


async def test_no_run_begins_in_a_thread_while_it_is_pruned(deployment: Deployment) -> None:
    """The prune stands at LangGraph's rows, which the test holds; a run is created meanwhile, and waits."""
    platform = await deployment.open(chain(greet))
    thread_id = await thread_of(platform, "ann")

    async with deployment.connect() as holder, holder.transaction():
        await holder.execute("LOCK TABLE langgraph.checkpoints IN ACCESS EXCLUSIVE MODE")
        pruning = asyncio.create_task(platform.pruning.prune(platform.caller, [thread_id], strategy="keep_latest"))
        await deployment.waits_for_a_lock()
        running = asyncio.create_task(platform.run("agent", {"text": "bob"}, thread_id=thread_id))
        while len(await deployment.sql(_WAITING)) < 2:
            pass
        assert not running.done()

    assert [each.kept for each in await pruning] == [None]
    assert (await running).output["log"] == ["said hello ann", "said hello bob"]


async def test_a_run_that_came_first_keeps_its_thread(deployment: Deployment) -> None:
    """The prune waits for the thread's row; the transaction that holds it puts a run in line."""
    platform = await deployment.open(chain(greet), worker=False)
    thread_id = (await platform.threads.create(platform.caller)).thread_id

    async with deployment.connect() as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM perron.threads FOR NO KEY UPDATE")
        pruning = asyncio.create_task(platform.pruning.prune(platform.caller, [thread_id]))
        await deployment.waits_for_a_lock()
        await holder.execute(
            "INSERT INTO perron.runs (run_id, thread_id, graph_id, seq) VALUES (%s, %s, 'agent', 1)",
            [new_id(), thread_id],
        )

    assert [each.kept for each in await pruning] == ["A run of it is in line."]
    assert len(await deployment.sql("SELECT 1 FROM perron.runs")) == 1


async def test_a_thread_that_is_used_again_meanwhile_is_not_old_any_more(deployment: Deployment) -> None:
    """It was found; then somebody renames it, and holds its row when the prune comes for it."""
    platform = await deployment.open(chain(greet))
    thread_id = await thread_of(platform, "ann")
    await pass_time(deployment, 90)
    [found] = await platform.pruning.find(platform.caller, status="idle", older_than=timedelta(hours=1))

    async with deployment.connect() as holder, holder.transaction():
        await holder.execute("UPDATE perron.threads SET updated_at = now()")
        prune = platform.pruning.prune(platform.caller, [found], status="idle", older_than=timedelta(hours=1))
        pruning = asyncio.create_task(prune)
        await deployment.waits_for_a_lock()

    assert [each.kept for each in await pruning] == ["It was updated or deleted meanwhile."]
    assert (await platform.threads.get(platform.caller, thread_id)).status == "idle"


async def test_a_thread_that_cannot_be_pruned_holds_up_no_other(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))
    stubborn = await thread_of(platform, "ann", ttl=1)
    others = [await thread_of(platform, "bob", ttl=2) for _ in range(2)]
    await pass_time(deployment, 3)
    before = await platform.threads.get(platform.caller, stubborn)
    await deployment.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        f"CREATE TRIGGER refuse BEFORE DELETE ON perron.threads FOR EACH ROW WHEN (old.thread_id = '{stubborn}')"
        " EXECUTE FUNCTION refuse()"
    )

    assert not await platform.pruning.expire_due()

    [left] = await platform.threads.search(platform.caller)
    assert left.thread_id == stubborn not in others
    assert left.updated_at == before.updated_at
    assert left.expires_at is not None
    assert before.expires_at is not None
    assert left.expires_at - before.expires_at > timedelta(minutes=59)
    assert (await rows_of(deployment, stubborn))["checkpoints"] > 0


async def test_a_thread_expires_after_its_last_update(deployment: Deployment) -> None:
    platform = await deployment.open(chain(ask), thread_ttl_minutes=90)
    by_setting = (await platform.run("agent", {"text": "x"})).thread_id
    short, waiting, for_ever = [await thread_of(platform, text, ttl=30) for text in ("x", "ask", "x")]
    changed = await platform.threads.update(platform.caller, for_ever, ThreadUpdate(metadata={"a": 1}, ttl=None))
    assert (changed.ttl, changed.expires_at) == (None, None)
    assert changed.metadata_["graph_id"] == "agent"
    one = await platform.threads.get(platform.caller, short)
    assert one.expires_at is not None
    assert (one.expires_at - one.updated_at).total_seconds() == 30 * 60

    async def left() -> set[UUID]:
        while await platform.pruning.expire_due():
            pass
        return {thread.thread_id for thread in await platform.threads.search(platform.caller)}

    every = {by_setting, short, waiting, for_ever}
    assert await left() == every
    await pass_time(deployment, 31)
    assert await left() == every - {short}
    await pass_time(deployment, 60)
    assert await left() == {waiting, for_ever}
    settings = platform.settings.model_copy(update={"thread_ttl_waiting": True})
    shared = platform._opened.shared
    await PruneService(shared.database, shared.pool, settings).expire_due()
    assert await left() == {for_ever}


async def test_a_thread_that_keeps_its_latest_expires_once_for_each_update(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))
    ids = [await thread_of(platform, "ann") for _ in range(3)]
    for thread_id in ids:
        await platform.threads.update(
            platform.caller, thread_id, ThreadUpdate(ttl=Ttl(ttl=1, strategy="keep_latest"))
        )
    await pass_time(deployment, 2)

    # As several workers do it, all at once.
    await asyncio.gather(*(platform.pruning.expire_due() for _ in range(3)))

    for thread_id in ids:
        assert (await rows_of(deployment, thread_id))["checkpoints"] == 1
        thread = await platform.threads.get(platform.caller, thread_id)
        assert (thread.status, thread.expires_at, bool(thread.ttl)) == ("idle", None, True)
    await platform.run("agent", {"text": "bob"}, thread_id=ids[0])
    assert (await platform.threads.get(platform.caller, ids[0])).expires_at is not None


def test_the_time_to_live_is_read_as_the_sdk_writes_it() -> None:
    assert Ttl.model_validate(60).column == {"strategy": "delete", "ttl_minutes": 60}
    given = {"ttl": 5, "strategy": "keep_latest"}
    assert Ttl.model_validate(given).column == {"strategy": "keep_latest", "ttl_minutes": 5}
    for wrong in (0, -1, {"ttl": 5, "strategy": "archive"}, {"minutes": 5}, "soon"):
        with pytest.raises(ValueError, match="validation error"):
            Ttl.model_validate(wrong)


_WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
