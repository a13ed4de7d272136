"""Crons: what may be one, what a list shows, and what a change does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.conftest import Deployment, State, chain

from perron import clock
from perron.caller import Caller
from perron.core.platform import Platform
from perron.errors import (
    AgentNotFoundError,
    CronNotFoundError,
    InternalAddressError,
    InvalidInputError,
    ThreadNotFoundError,
)
from perron.ids import system_assistant_id
from perron.models.cron import Cron
from perron.schemas.cron import CronCreate, CronUpdate

ANN, BOB, ROOT = Caller("ann"), Caller("bob"), Caller("root", is_admin=True)


def greet(state: State) -> State:
    return {"text": f"hello {state['text']}"}


@pytest.fixture
async def platform(deployment: Deployment) -> Platform:
    return await deployment.open(chain(greet), worker=False)


async def make(platform: Platform, caller: Caller = ANN, **fields: Any) -> Cron:
    body = {"assistant_id": "agent", "schedule": "0 9 * * *", "input": {"text": "ann"}, **fields}
    return await platform.crons.create(caller, CronCreate(**body))


async def test_a_cron_is_due_at_its_next_date(platform: Platform) -> None:
    cron = await make(platform, timezone="Europe/Zurich", metadata={"team": "desk"})

    shown = await platform.crons.get(ANN, cron.cron_id)
    assert shown.next_run_date is not None
    assert shown.next_run_date > clock.now()
    assert shown.next_run_date.astimezone(UTC).hour in (7, 8)
    assert (shown.assistant_id, shown.graph_id) == (system_assistant_id("agent"), "agent")
    assert (shown.payload, shown.metadata_) == ({"input": {"text": "ann"}}, {"team": "desk"})
    assert (shown.on_run_completed, shown.enabled, shown.owner) == ("delete", True, "ann")


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"schedule": "0 0 30 2 *"}, InvalidInputError, "never fires"),
        ({"timezone": "Mars/Olympus"}, InvalidInputError, "no time zone"),
        ({"end_time": "2020-01-01T00:00:00"}, InvalidInputError, "has passed"),
        ({"input": {"txt": "ann"}}, InvalidInputError, "has none of its fields"),
        ({"assistant_id": "agnt"}, AgentNotFoundError, "Did you mean 'agent'"),
        ({"thread_id": uuid4()}, ThreadNotFoundError, "no thread"),
        ({"webhook": "http://127.0.0.1/hook"}, InternalAddressError, "internal address"),
    ],
)
async def test_a_cron_whose_runs_could_not_be_is_refused(
    platform: Platform, fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await make(platform, **fields)

    assert await platform.crons.count(ROOT) == 0


async def test_an_end_before_the_first_date_is_refused(platform: Platform) -> None:
    with pytest.raises(InvalidInputError, match="is behind the end"):
        await make(platform, schedule="0 0 1 1 *", end_time=datetime(clock.now().year, 12, 31, tzinfo=UTC))


async def test_on_a_thread_the_runs_are_its_owners_and_it_stays(platform: Platform) -> None:
    thread = await platform.threads.create(ANN)

    cron = await make(platform, ROOT, thread_id=thread.thread_id)

    assert (cron.owner, cron.on_run_completed) == ("ann", None)
    with pytest.raises(InvalidInputError, match="crons without a thread"):
        await make(platform, ANN, thread_id=thread.thread_id, on_run_completed="delete")
    await platform.threads.transfer(ROOT, thread.thread_id, to="bob")
    assert (await platform.crons.get(BOB, cron.cron_id)).owner == "bob"


async def test_others_crons_are_not_there(platform: Platform) -> None:
    cron = await make(platform, ANN)

    assert await platform.crons.search(BOB) == []
    for work in (
        platform.crons.get(BOB, cron.cron_id),
        platform.crons.delete(BOB, cron.cron_id),
        platform.crons.update(BOB, cron.cron_id, CronUpdate(enabled=False)),
    ):
        with pytest.raises(CronNotFoundError):
            await work


async def test_a_list_is_filtered_and_sorted(platform: Platform) -> None:
    early = await make(platform, schedule="0 0 1 1 *", metadata={"team": "desk"})
    late = await make(platform, schedule="* * * * *", enabled=False)

    async def ids(**options: Any) -> list[Any]:
        return [cron.cron_id for cron in await platform.crons.search(ANN, **options)]

    assert await ids() == [late.cron_id, early.cron_id]
    assert await ids(sort_by="created_at", sort_order="asc") == [early.cron_id, late.cron_id]
    assert await ids(sort_by="next_run_date") == [early.cron_id, late.cron_id]
    assert await ids(enabled=True) == [early.cron_id]
    assert await ids(metadata={"team": "desk"}) == [early.cron_id]
    assert await platform.crons.count(ANN, assistant_id=system_assistant_id("agent")) == 2
    with pytest.raises(InvalidInputError, match="Did you mean 'end_time'"):
        await ids(sort_by="end_tme")


async def test_a_change_keeps_what_is_not_given(platform: Platform) -> None:
    end = clock.now() + timedelta(days=400)
    cron = await make(platform, end_time=end, context={"limit": 1}, metadata={"team": "desk"})

    changed = await platform.crons.update(
        ANN, cron.cron_id, CronUpdate(schedule="30 9 * * *", input={"text": "bob"})
    )

    assert changed.payload == {"input": {"text": "bob"}, "context": {"limit": 1}}
    assert (changed.metadata_, changed.end_time) == ({"team": "desk"}, end)
    assert changed.next_run_date is not None
    assert changed.next_run_date.minute == 30
    unlimited = await platform.crons.update(ANN, cron.cron_id, CronUpdate(end_time=None))
    assert unlimited.end_time is None


async def test_a_disabled_cron_has_no_next_date_until_it_is_enabled(platform: Platform) -> None:
    cron = await make(platform)

    disabled = await platform.crons.update(ANN, cron.cron_id, CronUpdate(enabled=False))
    enabled = await platform.crons.update(ANN, cron.cron_id, CronUpdate(enabled=True))

    assert disabled.next_run_date is None
    assert enabled.next_run_date == cron.next_run_date


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (CronUpdate(), "nothing to change"),
        (CronUpdate(schedule="nonsense"), "five fields"),
        (CronUpdate(input={"txt": 1}), "has none of its fields"),
        (CronUpdate(webhook="http://localhost/"), "internal address"),
    ],
)
async def test_a_change_that_does_not_fit_changes_nothing(platform: Platform, body: CronUpdate, said: str) -> None:
    cron = await make(platform)

    with pytest.raises(InvalidInputError, match=said):
        await platform.crons.update(ANN, cron.cron_id, body)

    kept = await platform.crons.get(ANN, cron.cron_id)
    assert (kept.schedule, kept.payload, kept.updated_at) == (cron.schedule, cron.payload, cron.updated_at)


async def test_a_deleted_cron_is_gone(platform: Platform) -> None:
    cron = await make(platform)

    await platform.crons.delete(ANN, cron.cron_id)

    assert await platform.crons.count(ANN) == 0
