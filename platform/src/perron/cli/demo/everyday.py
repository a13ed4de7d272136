"""The first act: a dozen requests, of which one needs a person."""

from __future__ import annotations

import asyncio
from typing import Any

from perron.cli.demo.inbox import DOZEN, Letter
from perron.cli.demo.stage import Stage
from perron.cli.output import shorten
from perron.core.platform import Platform
from perron.core.result import RunResult
from perron.errors import PerronError

_AT_ONCE = 4
_TEXT_CHARS = 46
_DONE = {
    "freeze_card": "card frozen",
    "refund": "refunded",
    "open_ticket": "ticket opened",
    "reply": "answered",
}


async def work_through_inbox(platform: Platform, stage: Stage) -> list[dict[str, Any]]:
    """Run the agent on each request, and let a person approve what is above its limit.

    Raises:
        PerronError: A run failed.
    """
    stage.begin(f"{len(DOZEN)} requests: the agent freezes cards, refunds, opens tickets, and asks a person")
    waiting: list[RunResult] = []
    rows: list[dict[str, Any]] = []
    slots = asyncio.Semaphore(_AT_ONCE)

    async def work(letter: Letter) -> None:
        async with slots:
            result = (await platform.run("triage", letter.as_input)).raise_for_status()
        rows.append(_row(letter, result))
        if result.waiting:
            waiting.append(result)
        stage.tell(f"{letter.customer:5} {shorten(letter.text, _TEXT_CHARS):{_TEXT_CHARS}}  {_outcome(result)}")

    with stage.working("The agent reads"):
        try:
            async with asyncio.TaskGroup() as group:
                for letter in DOZEN:
                    group.create_task(work(letter))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
    for result in waiting:
        ask = result.waiting[0]
        stage.tell(f"A person is asked: {ask.question}")
        with stage.working("The agent goes on"):
            after = (await ask.approve()).raise_for_status()
        stage.tell(f"Approved, and the agent goes on where it stood: {_outcome(after)}.")
    if not waiting:
        raise PerronError("The demo expected the agent to ask a person about the large refund, and it did not.")
    return rows


def _row(letter: Letter, result: RunResult) -> dict[str, Any]:
    return {
        "run_id": result.run_id,
        "customer": letter.customer,
        "text": letter.text,
        "outcome": _outcome(result),
        "waited": bool(result.waiting),
    }


def _outcome(result: RunResult) -> str:
    if result.waiting:
        return "waits for a person"
    return ", ".join(_DONE.get(action, action) for action in result.output["actions"]) or "nothing to do"
