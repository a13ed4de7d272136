"""Finishing a run: status, output, thread, asks and the last event, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from perron.caller import Caller
from perron.database.encoding import clean
from perron.database.engine import Database, Session
from perron.ids import new_id
from perron.integrations.openask import OpenAsk
from perron.repositories.ask import AskRepository
from perron.repositories.base import DATABASE_NOW
from perron.repositories.run import RunRepository
from perron.repositories.run_event import RunEventRepository
from perron.repositories.thread import ThreadRepository
from perron.runtime.claim import ClaimedRun
from perron.runtime.events import LAST_EVENT


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How an execution came out."""

    status: str
    """success | error | timeout | interrupted"""
    output: Any = None
    values: Any = None
    """The thread's state; None leaves what it was."""
    interrupts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By task id, as the SDK shows them on the thread."""
    asks: list[OpenAsk] = field(default_factory=list)
    has_next: bool = False
    """Nodes are still to run: the thread stopped in the middle."""
    error: dict[str, str] | None = None
    is_sanitised: bool = False

    def __post_init__(self) -> None:
        """Make output and values fit for PostgreSQL, and note when that changed something."""
        self.output, changed_output = clean(self.output)
        self.values, changed_values = clean(self.values)
        self.is_sanitised = changed_output or changed_values


async def finish(database: Database, run: ClaimedRun, outcome: Outcome, *, last_n: int) -> bool:
    """End the run; False when it is not this worker's any more.

    `last_n` is the number of the last event that this epoch has appended.
    """
    return await database.run(lambda session: _finish(session, run, outcome, last_n))


async def _finish(session: Session, run: ClaimedRun, outcome: Outcome, last_n: int) -> bool:
    everyone = Caller.system(run.owner.tenant)
    thread = await ThreadRepository(session, everyone).find_any(run.thread_id, lock=True)
    runs = RunRepository(session, everyone)
    ended = await runs.end(
        run.run_id,
        epoch=run.epoch,
        status=outcome.status,
        output=outcome.output,
        error=outcome.error,
        is_sanitised=outcome.is_sanitised,
        cancel_action=None,
        finished_at=DATABASE_NOW,
    )
    if not ended or thread is None:
        return False
    asks = AskRepository(session, everyone)
    if outcome.asks or thread.interrupts:
        await asks.drop_others(run.thread_id, [ask.interrupt_id for ask in outcome.asks])
        await asks.open_all([_row(run, ask) for ask in outcome.asks])
    thread.status = "busy" if await runs.find_head_id(run.thread_id) else _thread_status(outcome)
    thread.interrupts = outcome.interrupts
    thread.error = outcome.error
    thread.state_updated_at = DATABASE_NOW
    if outcome.values is not None:
        thread.values = outcome.values
    await RunEventRepository(session, everyone).insert_last(
        run.run_id, run.epoch, _closing_events(run, outcome), after_n=last_n
    )
    return True


def _thread_status(outcome: Outcome) -> str:
    if outcome.status in ("error", "timeout"):
        return "error"
    return "interrupted" if outcome.has_next else "idle"


def _closing_events(run: ClaimedRun, outcome: Outcome) -> Sequence[tuple[str, Any]]:
    end = (LAST_EVENT, {"run_id": str(run.run_id), "status": outcome.status})
    return [("error", outcome.error), end] if outcome.error else [end]


def _row(run: ClaimedRun, ask: OpenAsk) -> dict[str, Any]:
    return {
        "ask_id": new_id(),
        "tenant": run.owner.tenant,
        "owner": run.owner.principal,
        "thread_id": run.thread_id,
        "run_id": run.run_id,
        "interrupt_id": ask.interrupt_id,
        "call_id": ask.call_id,
        "kind": ask.kind,
        "question": clean(ask.question)[0],
        "arguments": ask.arguments,
        "decisions": list(ask.decisions),
        "answer_schema": ask.answer_schema,
    }
