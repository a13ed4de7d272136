"""What people may see of the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, inspect

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import CallNotFoundError, InvalidInputError
from perron.ids import new_id
from perron.models.call import Call, CallAttempt
from perron.services.call import CallService

ADMIN = Caller.system()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with Perron's tables."""
    opened = Database(database_url)
    yield opened
    await opened.close()


async def add(database: Database, **values: Any) -> UUID:
    """Insert a call with one attempt."""
    call_id: UUID = values.get("call_id") or new_id()
    columns: dict[str, Any] = {
        "call_id": call_id,
        "thread_id": new_id(),
        "run_id": new_id(),
        "task_id": "task",
        "operation": "desk.refund",
        "slot": "#1",
        "fingerprint": b"f",
        "effect": "create",
        "repeat": "SameKey",
        "state": "done",
        "sealed": b"sealed",
    }
    async with database.begin() as session:
        session.add(Call(**{**columns, **values}))
        await session.flush()
        session.add(
            CallAttempt(
                attempt_id=new_id(),
                call_id=call_id,
                run_id=new_id(),
                epoch=1,
                timeout_s=1.0,
                outcome="answered",
                sent_at=func.now(),
            )
        )
    return call_id


async def test_calls_are_found_by_what_they_are(database: Database) -> None:
    run_id, thread_id = new_id(), new_id()
    wanted = await add(database, run_id=run_id, thread_id=thread_id, operation="desk.freeze", state="in_doubt")
    await add(database)
    service = CallService(database)

    for filters in (
        {"run_id": run_id},
        {"thread_id": thread_id},
        {"operation": "desk.freeze"},
        {"state": "in_doubt"},
    ):
        found = await service.search(ADMIN, **filters)
        assert [call.call_id for call in found] == [wanted]
    assert len(await service.search(ADMIN)) == 2
    assert len(await service.search(ADMIN, limit=1, offset=1)) == 1


async def test_a_state_that_there_is_not_is_refused_with_the_nearest(database: Database) -> None:
    with pytest.raises(InvalidInputError, match="Did you mean 'done'"):
        await CallService(database).search(ADMIN, state="donne")


async def test_a_call_is_shown_with_its_attempts_and_without_its_sealed_answer(database: Database) -> None:
    call_id = await add(database)

    for name in (call_id, str(call_id), call_id.hex[-8:]):
        call = await CallService(database).get(ADMIN, name)
        assert [attempt.outcome for attempt in call.attempts] == ["answered"]
        assert "sealed" in inspect(call).unloaded


async def test_calls_of_others_are_not_there(database: Database) -> None:
    call_id = await add(database, owner="ann")
    bob = Caller("bob")
    service = CallService(database)

    assert await service.search(bob) == []
    for name in (call_id, call_id.hex[-8:]):
        with pytest.raises(CallNotFoundError):
            await service.get(bob, name)
    with pytest.raises(CallNotFoundError):
        await service.get(Caller.system("another tenant"), call_id)


async def test_the_end_of_an_id_has_to_be_of_one_call(database: Database) -> None:
    for _ in range(2):
        await add(database, call_id=UUID(hex=new_id().hex[:24] + "abcdabcd"), slot=new_id().hex)

    with pytest.raises(InvalidInputError, match="Several calls"):
        await CallService(database).get(ADMIN, "abcdabcd")
    with pytest.raises(CallNotFoundError):
        await CallService(database).get(ADMIN, "no id")
