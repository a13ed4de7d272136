"""The last act: what the database has of it all, and what to try next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from perron.cli.demo.desk import Desk
from perron.cli.demo.killing import Killed
from perron.cli.demo.stage import Stage
from perron.cli.output import Row, duration, short_id, shorten
from perron.core.platform import Platform
from perron.models.call import CallAttempt
from perron.models.run import Run

_PAGE = 200
_EFFECTS = {
    "desk.freeze_card": "freeze",
    "desk.open_ticket": "ticket",
    "desk.refund": "refund",
    "desk.send_message": "message",
}
_TEXT_CHARS = 40


async def show_database(platform: Platform, desk: Desk, stage: Stage, killed: Killed, *, plain: int) -> None:
    """Show the runs, every try of the calls that were killed, and all calls beside the desk's book."""
    stage.begin("All of it is in PostgreSQL")
    runs = await platform.runs.search(platform.caller, limit=_PAGE)
    rows = [_run(run) for run in reversed(runs)]
    stage.show(rows, {"run": "run", "request": "request", "status": "status", "claims": "claims", "took": "took"})
    stage.tell("")
    stage.tell("The calls of the two that were killed, try by try:")
    columns = {"call": "call", "operation": "operation", "try": "try", "came of it": "outcome", "state": "state"}
    stage.show(await _tries(platform, (killed.refund_thread, killed.message_thread)), columns)
    stage.tell("")
    stage.tell("All calls beside the desk's own book (without what plain LangGraph did):")
    columns = {"operation": "operation", "calls done": "calls", "in the desk's book": "book"}
    stage.show(await _balance(platform, desk, plain=plain), columns)


def show_next(stage: Stage, home: Path, run_id: UUID, *, is_kept: bool) -> None:
    """Name three commands to try."""
    stage.begin("Try next")
    if is_kept:
        here = f"PERRON_HOME={home / '.perron'}"
        stage.tell(f"{here} perron runs show {run_id}")
        stage.tell(f"{here} perron calls list")
        stage.tell(f"{here} perron asks list --all")
    else:
        stage.tell("perron demo --keep          the same, and its database stays for you to look around in")
        stage.tell("perron agents show triage   the graph of the agent that you saw")
        stage.tell("perron doctor               what is installed here, and what is missing")


def _run(run: Run) -> Row:
    given = run.kwargs.get("input") or {}
    took = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    is_answer = bool((run.kwargs.get("command") or {}).get("resume"))
    return {
        "run": short_id(run.run_id),
        "request": "(a person's answer)" if is_answer else shorten(str(given.get("text", "")), _TEXT_CHARS),
        "status": "waited" if run.asks else run.status,
        "claims": run.epoch,
        "took": None if took is None else duration(took),
    }


async def _tries(platform: Platform, threads: Sequence[UUID]) -> list[Row]:
    rows: list[Row] = []
    for thread_id in threads:
        for found in reversed(await platform.calls.search(platform.caller, thread_id=thread_id, limit=_PAGE)):
            if found.operation not in _EFFECTS:
                continue
            call = await platform.calls.get(platform.caller, found.call_id)
            rows += [
                {
                    "call": short_id(call.call_id),
                    "operation": call.operation,
                    "try": number,
                    "outcome": _outcome(attempt),
                    "state": call.state if number == len(call.attempts) else "",
                }
                for number, attempt in enumerate(call.attempts, 1)
            ]
    return rows


def _outcome(attempt: CallAttempt) -> str:
    if attempt.status is not None:
        return f"answered {attempt.status}"
    return "no answer was recorded" if attempt.outcome == "no_response" else attempt.outcome.replace("_", " ")


async def _balance(platform: Platform, desk: Desk, *, plain: int) -> list[Row]:
    done: Counter[str] = Counter()
    for operation in _EFFECTS:
        calls = await platform.calls.search(platform.caller, operation=operation, state="done", limit=_PAGE)
        done[operation] = len(calls)
    book = await desk.counts()
    book["refund"] -= plain
    return [
        {"operation": operation, "calls": done[operation], "book": book[kind]}
        for operation, kind in _EFFECTS.items()
    ]
