"""Effects: functions of any kind, through the real journal."""

from __future__ import annotations

import asyncio
import smtplib
import threading
from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from perron.errors import (
    DefinitionError,
    Invalid,
    NotFound,
    OutsidePlatformError,
    RateLimited,
    Upstream,
)
from perron.integrations.exchange import NotSent
from perron.integrations.operations.effect import effect, marker
from perron.integrations.repeat import AskPerson, Harmless, LookUp, SameKey
from perron.integrations.run.context import running

if TYPE_CHECKING:
    from tests.integrations.conftest import ThreadDriver

    from perron.integrations.run.context import RunContext
    from perron.integrations.run.open_ask import OpenAsk


class Lead(BaseModel):
    email: str
    at: datetime


AT = datetime.fromisoformat("2024-02-29T12:00:00.123456+00:00")
made: list[Any] = []
"""What the functions below have done to the world."""
plan: list[Exception] = []
"""What they raise instead of returning, after having done it."""


@pytest.fixture(autouse=True)
def clean_world() -> None:
    made.clear()
    plan.clear()


def act(what: Any) -> None:
    if plan and isinstance(plan[0], NotSent | Invalid | NotFound | RateLimited):
        raise plan.pop(0)
    made.append(what)
    if plan:
        raise plan.pop(0)


@effect("crm.create_lead", repeat=AskPerson)
async def create_lead(email: str, at: datetime = AT) -> Lead:
    """Create a lead."""
    act(email)
    return Lead(email=email, at=at)


@effect("mail.send", repeat=SameKey, thread=True, redact=("$.to",))
def send_mail(to: str) -> str:
    """Send a mail."""
    act((to, marker(), threading.current_thread().name))
    return "queued"


@effect("crm.tag", repeat=Harmless, timeout_s=0.2)
async def tag(seconds: float) -> None:
    """Take so long."""
    made.append(seconds)
    await asyncio.sleep(seconds)


@effect("crm.block", repeat=AskPerson, thread=True, timeout_s=0.2)
def block() -> None:
    """Wait in a thread."""
    made.append("block")
    release.wait(5)


release = threading.Event()


async def find_note(mark: str) -> str | None:
    return next((text for text, found in made if found == mark), None)


@effect("crm.note", repeat=LookUp(find_note, settle_s=0))
async def note(text: str) -> str:
    """Write a note."""
    act((text, marker()))
    return text


@effect("crm.wrong", repeat=AskPerson)
async def wrong() -> int:
    """Return something else."""
    made.append("wrong")
    return "many"  # type: ignore[return-value]  # what the test is about


@effect("crm.count", effect="read")
async def count() -> int:
    """Count leads."""
    return len(made)


async def asks_of(run: RunContext, call: Awaitable[object]) -> list[OpenAsk]:
    """Make a call that stops its node for a person, and return the questions."""
    with pytest.raises(Exception) as stopped:
        await call
    assert type(stopped.value).__name__ == "Stopped"
    return list(run.asks.values())


async def test_an_effect_is_called_like_its_function(shop_run: RunContext, thread: ThreadDriver) -> None:
    lead = await create_lead("ann@mail.example")

    assert lead == Lead(email="ann@mail.example", at=AT)
    (call,) = await thread.calls()
    assert (call.operation, call.state, call.effect, call.repeat) == (
        "crm.create_lead",
        "done",
        "create",
        "AskPerson",
    )
    assert call.arguments == {"email": "ann@mail.example", "at": "2024-02-29T12:00:00.123456Z"}


async def test_a_replayed_result_equals_the_original(shop_run: RunContext, thread: ThreadDriver) -> None:
    first = await create_lead("ann@mail.example")

    again = (await thread.execution()).context
    again.integrations = shop_run.integrations
    with running(again):
        second = await create_lead("ann@mail.example")

    assert second == first
    assert made == ["ann@mail.example"]


async def test_a_sync_function_runs_in_a_thread_and_knows_its_key(
    shop_run: RunContext, thread: ThreadDriver
) -> None:
    assert await send_mail("ann@mail.example") == "queued"

    ((to, key, name),) = made
    (call,) = await thread.calls()
    assert (to, key) == ("ann@mail.example", call.idempotency_key)
    assert name.startswith("perron-effect")
    assert call.arguments == {"to": "[redacted]"}


async def test_many_sync_nodes_at_once_do_not_starve_the_effects_they_wait_for(shop_run: RunContext) -> None:
    nodes = [asyncio.to_thread(send_mail.sync, f"{n}@mail.example") for n in range(40)]

    assert await asyncio.wait_for(asyncio.gather(*nodes), 30) == ["queued"] * 40
    assert len(made) == 40


async def test_a_call_that_provably_did_nothing_is_made_again(shop_run: RunContext) -> None:
    plan.append(NotSent("no connection"))

    await create_lead("ann@mail.example")

    assert made == ["ann@mail.example"]


@pytest.mark.parametrize("failure", [smtplib.SMTPServerDisconnected("gone"), TimeoutError("late"), Upstream("5")])
async def test_any_other_failure_of_an_effect_is_a_question(shop_run: RunContext, failure: Exception) -> None:
    plan.append(failure)

    (ask,) = await asks_of(shop_run, create_lead("ann@mail.example"))

    assert (ask.kind, ask.operation) == ("unknown_outcome", "crm.create_lead")
    assert made == ["ann@mail.example"]


@pytest.mark.parametrize("refusal", [Invalid("No such list."), NotFound("No such list.")])
async def test_a_definite_no_is_recorded(shop_run: RunContext, thread: ThreadDriver, refusal: Exception) -> None:
    plan.append(refusal)

    with pytest.raises(type(refusal), match="No such list"):
        await create_lead("ann@mail.example")

    (call,) = await thread.calls()
    assert (call.state, made) == ("failed", [])


async def test_a_lost_result_is_found_by_its_marker(shop_run: RunContext) -> None:
    plan.append(ConnectionResetError("gone"))

    assert await note("hello") == "hello"
    assert len(made) == 1


async def test_a_result_that_is_not_what_was_declared_is_never_asked_for_again(
    shop_run: RunContext, thread: ThreadDriver
) -> None:
    with pytest.raises(Upstream, match="cannot be read"):
        await wrong()

    (call,) = await thread.calls()
    assert (call.state, made) == ("done", ["wrong"])


async def test_a_function_that_takes_too_long_is_stopped(shop_run: RunContext) -> None:
    (ask,) = await asks_of(shop_run, tag(60.0))

    assert ask.kind == "unknown_outcome"
    assert set(made) == {60.0}


async def test_a_thread_that_takes_too_long_is_a_question(shop_run: RunContext) -> None:
    release.clear()

    (ask,) = await asks_of(shop_run, block())

    release.set()
    assert (ask.kind, made) == ("unknown_outcome", ["block"])


async def test_a_read_is_made_anew(shop_run: RunContext) -> None:
    assert await count() == 0
    made.append("x")
    assert await count() == 1


async def test_an_effect_that_was_not_granted_is_refused(shop_run: RunContext) -> None:
    shop_run.grants = frozenset({"mail.send"})

    with pytest.raises(Invalid, match=r"The agent 'triage' may not use crm\.create_lead: add it to its `uses`"):
        await create_lead("ann@mail.example")

    assert made == []


async def test_outside_a_run_an_effect_says_how_to_test_it() -> None:
    with pytest.raises(OutsidePlatformError, match="fixture"):
        await create_lead("ann@mail.example")
    with pytest.raises(OutsidePlatformError, match="marker"):
        marker()


def declare(key: str = "crm.new", *, function: Any = None, **options: Any) -> Any:
    async def default(email: str) -> str:
        """Do it."""
        return email

    return effect(key, **{"repeat": AskPerson, **options})(function or default)


def sync_function(email: str) -> str:
    """Do it."""
    return email


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"key": "lead"}, "needs a key like crm.create_lead"),
        ({"repeat": None}, "does not say how a repeat is made safe"),
        ({"function": sync_function}, "`async def`, or thread=True"),
        ({"thread": True}, "drop thread=True"),
        ({"repeat": LookUp(sync_function)}, "async def find(marker)"),  # type: ignore[arg-type]
        ({"redact": ("email",)}, "is no path"),
        ({"key": "crm.create_lead"}, "There are two effects crm.create_lead"),
    ],
)
def test_a_declaration_that_is_wrong_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        declare(**options)

    assert sentence in raised.value.message


def test_a_file_that_is_loaded_again_may_declare_its_effects_again() -> None:
    declare("crm.reloaded")
    declare("crm.reloaded")


async def test_a_limit_is_waited_for(shop_run: RunContext) -> None:
    plan.extend([RateLimited("slow", retry_after_s=0.0)] * 2)

    await create_lead("ann@mail.example")

    assert made == ["ann@mail.example"]
