import base64
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from perron import Platform
from perron.testing.model_server import CallsTools, ModelServer, Says
from perron_desk_server.process import DeskProcess, start_desk

MODEL = {"model": "openai:test"}
TICKET = {"customer": "c-1", "subject": "Charged twice", "text": "Corner Books, 24.99"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskProcess]:
    process = start_desk(tmp_path_factory.mktemp("desk") / "desk.sqlite")
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
async def platform(
    desk: DeskProcess, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Platform]:
    desk.reset()
    monkeypatch.setenv("OPENAI_API_KEY", "for the test server")
    monkeypatch.setenv("PERRON_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    monkeypatch.setenv("PERRON_CONNECTION_DESK", desk.token)
    monkeypatch.setenv("PERRON_INTEGRATION_DESK__BASE_URL", desk.url)
    async with Platform.open(database_url=database_url, home=tmp_path) as opened:
        yield opened


def says(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


async def use(platform: Platform, server: ModelServer, **settings: object) -> None:
    for name, value in {"base_url": server.base_url, **settings}.items():
        await platform.live_settings.set(platform.caller, f"agent.chat.{name}", value)


async def test_the_model_answers_with_what_its_tools_have_told(platform: Platform) -> None:
    with ModelServer([CallsTools(("desk_customer", {"customer": "c-1"})), Says("It is Mara Lindt.")]) as server:
        await use(platform, server)
        run = await platform.run("chat", says("Who is c-1?"), context=MODEL)

    assert run.raise_for_status().output["messages"][-1]["content"] == "It is Mara Lindt."
    assert "Mara Lindt" in server.requests[1]["messages"][-1]["content"]


async def test_calls_made_at_once_are_each_made_once(platform: Platform, desk: DeskProcess) -> None:
    tickets = [("desk_open_ticket", TICKET), ("desk_open_ticket", TICKET | {"subject": "Once more"})]
    with ModelServer([CallsTools(*tickets), Says("Done.")]) as server:
        await use(platform, server)
        (await platform.run("chat", says("Two tickets, please"), context=MODEL)).raise_for_status()

    assert desk.counts()["ticket"] == 2


async def test_the_model_is_offered_what_the_settings_allow_and_no_more(
    platform: Platform, desk: DeskProcess
) -> None:
    refund = ("desk_refund", {"payment": "pay-1-1", "amount_cents": 100})
    with ModelServer([CallsTools(refund), Says("I may not.")]) as server:
        await use(platform, server, operations=["desk.customer"])
        (await platform.run("chat", says("Refund it"), context=MODEL)).raise_for_status()

    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["desk_customer"]
    assert "not a valid tool" in server.requests[1]["messages"][-1]["content"]
    assert desk.counts()["refund"] == 0


async def test_a_call_that_fails_is_told_to_the_model(platform: Platform) -> None:
    with ModelServer([CallsTools(("desk_customer", {"customer": "nobody"})), Says("No such one.")]) as server:
        await use(platform, server)
        run = await platform.run("chat", says("Who is nobody?"), context=MODEL)

    assert run.raise_for_status().output["messages"][-1]["content"] == "No such one."


async def test_after_enough_rounds_the_model_has_no_tools_left(platform: Platform) -> None:
    look_up = CallsTools(("desk_customer", {"customer": "c-1"}))
    with ModelServer([look_up, Says("Enough.")]) as server:
        await use(platform, server, max_tool_rounds=1)
        (await platform.run("chat", says("Look it up for ever"), context=MODEL)).raise_for_status()

    assert ["tools" in request for request in server.requests] == [True, False]


async def test_words_are_streamed_as_they_come(platform: Platform) -> None:
    with ModelServer([Says("one two three")]) as server:
        await use(platform, server)
        stream = platform.stream("chat", says("Count"), context=MODEL, stream_mode=["messages-tuple"])
        pieces = [event.data[0]["content"] async for event in stream if event.event == "messages"]

    assert [piece for piece in pieces if piece][:3] == ["one ", "two ", "three"]


async def test_a_thread_remembers_what_was_said(platform: Platform) -> None:
    with ModelServer([Says("Hello Ada."), Says("Ada.")]) as server:
        await use(platform, server)
        first = await platform.run("chat", says("I am Ada."), context=MODEL)
        await platform.run("chat", says("Who am I?"), thread_id=first.thread_id, context=MODEL)

    assert [message["content"] for message in server.requests[1]["messages"][1:]] == [
        "I am Ada.",
        "Hello Ada.",
        "Who am I?",
    ]


async def test_without_a_model_the_run_says_what_to_set(platform: Platform) -> None:
    run = await platform.run("chat", says("Hello"))

    assert run.status == "error"
    assert run.error is not None
    assert "has no model: name one in the run's context" in run.error["message"]
