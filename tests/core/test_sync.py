"""`Platform.open_sync()`, as a script uses it: from a thread that has no event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import interrupt
from tests.conftest import KEY, State, chain

from perron.core.platform import Platform
from perron.errors import DatabaseUnavailableError, RunFailedError, RunNotFoundError


def ask(state: State) -> State:
    return {"text": f"{state['text']} {interrupt('who?')}"}


async def fail(state: State) -> State:
    raise ValueError("no such luck")


@pytest.fixture
def options(database_url: str, tmp_path: Path) -> dict[str, Any]:
    return {"database_url": database_url, "plugins": "none", "key": KEY, "home": tmp_path, "poll_s": 0.05}


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("perron-")]


def test_a_script_runs_an_agent_and_answers_it(options: dict[str, Any]) -> None:
    with Platform.open_sync(agents=[chain(ask)], **options) as platform:
        run = platform.run("agent", {"text": "hello"})
        assert [ask.question for ask in run.waiting] == ["who?"]
        for waiting in run.waiting:
            run = waiting.respond("ann")

        assert (run.status, run.output) == ("success", {"text": "hello ann", "log": []})
        assert run.raise_for_status() is run
        assert platform.state(run.thread_id).values["text"] == "hello ann"
        assert len(platform.history(run.thread_id)) >= 2
        platform.update_state(run.thread_id, {"text": "bye"})
        assert platform.state(run.thread_id).values["text"] == "bye"
        assert [event.event for event in platform.follow(run.run_id)][-1] == "end"
        [asked] = platform.wait(platform.platform.asks.search(platform.platform.caller, state="answered"))
        assert asked.question == "who?"
    assert threads() == []


def test_a_script_streams(options: dict[str, Any]) -> None:
    with Platform.open_sync(agents=[chain(fail)], **options) as platform:
        events = [event.event for event in platform.stream("agent", {"text": ""}, stream_mode="updates")]

        assert events == ["metadata", "error", "end"]


def test_errors_reach_the_script(options: dict[str, Any]) -> None:
    with Platform.open_sync(agents=[chain(fail)], **options) as platform:
        run_id = platform.submit("agent", {"text": ""})
        with pytest.raises(RunFailedError, match="no such luck"):
            platform.join(run_id).raise_for_status()
        with pytest.raises(RunNotFoundError):
            platform.retry("01900000-0000-7000-8000-000000000001")
        with pytest.raises(ZeroDivisionError):
            raise ZeroDivisionError
    platform.close()  # again is fine


def test_a_platform_that_cannot_be_opened_leaves_nothing_running(options: dict[str, Any]) -> None:
    options["database_url"] = "postgresql://nobody@127.0.0.1:1/nothing"

    with pytest.raises(DatabaseUnavailableError):
        Platform.open_sync(**options)

    assert threads() == []


async def test_it_works_beside_a_loop(options: dict[str, Any]) -> None:
    def script() -> str:
        with Platform.open_sync(agents=[chain(ask)], **options) as platform:
            return platform.run("agent", {"text": "hello"}).waiting[0].respond("bob").status

    assert await asyncio.to_thread(script) == "success"
