"""Finishing a run: status, output, thread, asks and the last event, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from perron.database.encoding import clean, dumps
from perron.ids import new_id
from perron.integrations.run.open_ask import OpenAsk
from perron.repositories.run import FINISH
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
        is_same = self.output is self.values  # as in every graph without an output schema of its own
        self.values, self.is_sanitised = clean(self.values)
        if is_same:
            self.output = self.values
        else:
            self.output, was_changed = clean(self.output)
            self.is_sanitised |= was_changed

    @property
    def thread_status(self) -> str:
        """What the thread becomes when nothing else is in its line."""
        if self.status in ("error", "timeout"):
            return "error"
        return "interrupted" if self.has_next else "idle"


async def finish(
    connection: AsyncConnection[DictRow],
    run: ClaimedRun,
    outcome: Outcome,
    *,
    schema: str,
    events: list[tuple[str, str, Any]],
    last_n: int,
) -> bool:
    """End the run; False when it is not this worker's any more.

    `events` are what the run has said since number `last_n`, the last that was appended.
    """
    closing: list[tuple[str, str, Any]] = [("error", "", outcome.error)] if outcome.error else []
    closing.append((LAST_EVENT, "", {"run_id": str(run.run_id), "status": outcome.status}))
    ending = {
        "status": outcome.status,
        "output": outcome.output,
        "values": outcome.values,
        "error": outcome.error,
        "is_sanitised": outcome.is_sanitised,
        "thread_status": outcome.thread_status,
        "interrupts": outcome.interrupts,
        "asks": [{"ask_id": new_id(), **_columns(ask)} for ask in outcome.asks],
        "events": [*events, *closing],
        "last_n": last_n,
    }
    what = {"run_id": run.run_id, "epoch": run.epoch, "thread_id": run.thread_id, "ending": dumps(ending)}
    row = await (await connection.execute(FINISH.format(schema=schema), what)).fetchone()
    return row is not None and row["is_followed"] is not None


def _columns(ask: OpenAsk) -> dict[str, Any]:
    return {
        "interrupt_id": ask.interrupt_id,
        "call_id": ask.call_id,
        "kind": ask.kind,
        "question": ask.question,
        "arguments": ask.arguments,
        "decisions": ask.decisions,
        "answer_schema": ask.answer_schema,
    }
