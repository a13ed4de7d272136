"""What callers of `Platform` hold: a run's result, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, Self
from uuid import UUID

from typing_extensions import TypeVar

from perron.errors import RunFailedError
from perron.models.ask import Ask
from perron.models.run import Run
from perron.services.answer import Answer

R = TypeVar("R", default="Coroutine[Any, Any, RunResult]")

Resume = Callable[[UUID, dict[UUID, Answer]], Coroutine[Any, Any, "RunResult"]]
"""Thread and answers by ask id → the result of the run that goes on with them."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[R]):
    """An ask that a run has stopped for; each answer runs the thread on and returns the new result.

    `R` is what an answer returns: a result to be awaited, or in scripts the result itself.
    """

    id: UUID
    thread_id: UUID
    kind: str
    """interrupt | approval | unknown_outcome | mismatch | connection"""
    question: str
    args: Any
    """What would be done, redacted; for an interrupt its value."""
    decisions: tuple[str, ...]
    schema: dict[str, Any] | None
    _answer: Callable[[Answer], R] = field(repr=False, compare=False)

    def answer(self, decision: str, value: Any = None) -> R:
        """Decide; `decisions` lists what this ask takes."""
        return self._answer(Answer(decision, value))

    def approve(self) -> R:
        """Let it be done."""
        return self.answer("approve")

    def edit(self, args: Any) -> R:
        """Let it be done with other arguments."""
        return self.answer("edit", args)

    def reject(self, reason: str | None = None) -> R:
        """Say no; the agent sees the reason."""
        return self.answer("reject", reason)

    def respond(self, value: Any) -> R:
        """Give the value that an `interrupt()` asked for."""
        return self.answer("respond", value)


@dataclass(frozen=True, slots=True)
class EndedRun(Generic[R]):
    """A run as it ended."""

    run_id: UUID
    thread_id: UUID
    graph_id: str
    status: str
    """success | error | timeout | interrupted (cancelled). A run that waits for a person has ended as success."""
    output: Any
    error: dict[str, str] | None
    waiting: tuple[Waiting[R], ...]

    def raise_for_status(self) -> Self:
        """Return self, or raise RunFailedError when the run did not succeed."""
        if self.status != "success":
            error = self.error or {"error": self.status, "message": "it was cancelled"}
            raise RunFailedError(
                f"The run {self.run_id} ended as {self.status}: {error['error']}: {error['message']}",
                run_id=str(self.run_id),
                status=self.status,
            )
        return self


@dataclass(frozen=True, slots=True)
class RunResult(EndedRun):
    """A run as it ended; answers to what it waits for are awaited."""


def result_of(run: Run, resume: Resume) -> RunResult:
    """Read a run's row, loaded with its asks."""
    return RunResult(
        run_id=run.run_id,
        thread_id=run.thread_id,
        graph_id=run.graph_id,
        status=run.status,
        output=run.output,
        error=run.error,
        waiting=tuple(_waiting(ask, resume) for ask in run.asks if ask.state == "open"),
    )


def _waiting(ask: Ask, resume: Resume) -> Waiting:
    return Waiting(
        id=ask.ask_id,
        thread_id=ask.thread_id,
        kind=ask.kind,
        question=ask.question,
        args=ask.arguments,
        decisions=tuple(ask.decisions),
        schema=ask.answer_schema,
        _answer=lambda answer: resume(ask.thread_id, {ask.ask_id: answer}),
    )
