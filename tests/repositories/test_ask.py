"""SQL of asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from perron.caller import Caller
from perron.database.engine import Database, Session
from perron.ids import new_id
from perron.models.ask import Ask
from perron.models.run import Run
from perron.models.thread import Thread
from perron.repositories.ask import AskRepository

ANN, BOB = Caller("ann"), Caller("bob")


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[Session]:
    database = Database(database_url, pool_size=1)
    async with database.begin() as session:
        yield session
    await database.close()


async def make_ask(session: Session, *, owner: str = "ann", thread_id: UUID | None = None, **columns: Any) -> Ask:
    if thread_id is None:
        thread_id = new_id()
        session.add(Thread(thread_id=thread_id, owner=owner))
        await session.flush()
    run = Run(run_id=new_id(), thread_id=thread_id, owner=owner, graph_id="agent", seq=new_id().int % 10**9)
    session.add(run)
    await session.flush()
    values = {"ask_id": new_id(), "interrupt_id": new_id().hex, "kind": "interrupt", "question": "?", **columns}
    ask = Ask(thread_id=thread_id, run_id=run.run_id, owner=owner, **values)
    session.add(ask)
    await session.flush()
    return ask


async def test_who_has_waited_longest_comes_first(session: Session) -> None:
    asks = [await make_ask(session, kind=kind) for kind in ("interrupt", "approval", "interrupt")]
    await make_ask(session, owner="bob")
    await make_ask(session, state="answered")
    repository = AskRepository(session, ANN)

    assert [ask.ask_id for ask in await repository.search()] == [ask.ask_id for ask in asks]
    assert [ask.ask_id for ask in await repository.search(kind="approval")] == [asks[1].ask_id]
    assert [ask.ask_id for ask in await repository.search(limit=1, offset=1)] == [asks[1].ask_id]
    assert len(await repository.search(state=None)) == 4


async def test_an_ask_is_found_by_the_end_of_its_id(session: Session) -> None:
    ask = await make_ask(session)
    end = ask.ask_id.hex[-6:]

    assert [found.ask_id for found in await AskRepository(session, ANN).find_by_end(end)] == [ask.ask_id]
    assert await AskRepository(session, BOB).find_by_end(end) == []
    assert await AskRepository(session, ANN).find_by_end("%") == []


async def test_an_ask_has_one_answer(session: Session) -> None:
    ask = await make_ask(session)
    repository = AskRepository(session, ANN)
    answer: dict[str, Any] = {"decision": "respond", "value": 1, "answered_by": "ann", "run_id": ask.run_id}

    assert await repository.answer(ask.ask_id, **answer)
    assert not await repository.answer(ask.ask_id, **{**answer, "value": 2})

    await session.refresh(ask, ["state"])
    assert ask.state == "answered"
    assert await repository.get_open(ask.thread_id) == []


async def test_only_open_asks_of_the_thread_are_dropped(session: Session) -> None:
    ask = await make_ask(session)
    answered = await make_ask(session, thread_id=ask.thread_id, state="answered")
    elsewhere = await make_ask(session)

    await AskRepository(session, BOB).drop_open(ask.thread_id)
    await session.refresh(ask, ["state"])
    assert ask.state == "open"
    await AskRepository(session, ANN).drop_open(ask.thread_id)

    states = []
    for row in (ask, answered, elsewhere):
        await session.refresh(row, ["state"])
        states.append(row.state)
    assert states == ["dropped", "answered", "open"]


async def test_transferred_asks_are_another_principals(session: Session) -> None:
    ask = await make_ask(session)

    await AskRepository(session, BOB).transfer(ask.thread_id, to="bob")
    assert await AskRepository(session, BOB).search() == []
    await AskRepository(session, ANN).transfer(ask.thread_id, to="bob")

    assert [found.ask_id for found in await AskRepository(session, BOB).search()] == [ask.ask_id]
