"""`TimelineService`: what happened in a run, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database
from perron.models.ask import Ask
from perron.models.call import Call, CallAttempt
from perron.models.run import Run
from perron.models.run_event import RunEvent
from perron.repositories.run import RunRepository
from perron.repositories.timeline import TimelineRepository
from perron.runtime.events import ATTEMPT_EVENT, STEP_EVENT

_ORDER = {"attempt": 0, "step": 1, "call": 2, "ask": 3}
"""Of what carries the same time: the cause before what it causes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    kind: Literal["attempt", "step", "call", "ask"]
    at: datetime
    ended_at: datetime | None
    name: str
    """The worker's epoch, the node, the operation, or the kind of ask."""
    state: str
    """started | done | failed | waiting | lost (its worker was) for steps; the row's state for calls and asks."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Arguments (redacted), attempts, the question and its answer: by kind."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run, loaded with its asks, and what happened in it."""

    run: Run
    entries: Sequence[Entry]


class TimelineService:
    """Timelines of a caller's runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, run_id: UUID) -> Timeline:
        """Return a run's steps, calls and waits, in the order of time.

        Raises:
            RunNotFoundError: No run of this caller has the id.
        """
        async with self._database.begin() as session:
            run = await RunRepository(session, caller).get_with_asks(run_id)
            repository = TimelineRepository(session)
            events = await repository.get_events(run_id, (ATTEMPT_EVENT, STEP_EVENT))
            calls = await repository.get_calls(run_id)
            asks = await repository.get_asks(run_id)
        steps: dict[str, datetime] = {}
        for event in events:
            steps.setdefault(_payload(event).get("id", ""), event.created_at)
        entries = [*_of_events(events, run), *_of_calls(calls, steps), *_of_asks(asks)]
        return Timeline(run, sorted(entries, key=lambda entry: (entry.at, _ORDER[entry.kind])))


def _of_events(events: Sequence[RunEvent], run: Run) -> Iterator[Entry]:
    ends = {}
    for event in events:
        if event.event == STEP_EVENT and _payload(event)["state"] != "started":
            ends[event.epoch, _payload(event)["id"]] = event
    for event in events:
        payload = _payload(event)
        if event.event == ATTEMPT_EVENT:
            yield Entry("attempt", event.created_at, None, f"epoch {event.epoch}", "started", payload)
        elif payload["state"] == "started":
            end = ends.get((event.epoch, payload["id"]))
            is_going_on = run.status == "running" and run.epoch == event.epoch
            state = _payload(end)["state"] if end else "started" if is_going_on else "lost"
            facts = {"id": payload["id"], "epoch": event.epoch, "namespace": event.namespace}
            yield Entry("step", event.created_at, end.created_at if end else None, payload["name"], state, facts)


def _payload(event: RunEvent) -> dict[str, Any]:
    return event.payload or {}


def _of_calls(calls: Sequence[Call], steps: dict[str, datetime]) -> Iterator[Entry]:
    for call in calls:
        # A read is recorded when it is over. Events are written beside the calls: a call may come before its step.
        begun_at = min([call.created_at, *(attempt.sent_at for attempt in call.attempts)])
        at = max(begun_at, steps.get(call.task_id, begun_at))
        yield Entry(
            "call",
            at,
            call.finished_at,
            call.operation,
            call.state,
            {
                "call_id": call.call_id,
                "node": call.node,
                "effect": call.effect,
                "repeat": call.repeat,
                "arguments": call.arguments,
                "result": call.result,
                "error": call.error,
                "attempts": [_attempt(attempt) for attempt in call.attempts],
            },
        )


def _attempt(attempt: CallAttempt) -> dict[str, Any]:
    return {
        "run_id": attempt.run_id,
        "epoch": attempt.epoch,
        "method": attempt.method,
        "host": attempt.host,
        "path": attempt.path,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error": attempt.error,
        "sent_at": attempt.sent_at,
        "finished_at": attempt.finished_at,
    }


def _of_asks(asks: Sequence[Ask]) -> Iterator[Entry]:
    for ask in asks:
        answer = ask.answer
        facts: dict[str, Any] = {
            "ask_id": ask.ask_id,
            "question": ask.question,
            "arguments": ask.arguments,
            "decisions": ask.decisions,
            "call_id": ask.call_id,
        }
        if answer is not None:
            facts |= {"decision": answer.decision, "value": answer.value, "answered_by": answer.answered_by}
            facts["resumed_by"] = answer.run_id
        yield Entry("ask", ask.created_at, answer.created_at if answer else None, ask.kind, ask.state, facts)
