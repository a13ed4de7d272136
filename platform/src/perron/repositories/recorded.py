"""What the journal's statements take and return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

COPIED = "~copy/"
"""Begins the slot of a call that a thread knows of from the one that it was copied from."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A row of `calls`, as far as a replay needs it."""

    call_id: UUID
    run_id: UUID
    task_id: str
    tool_call_id: str
    operation: str
    slot: str
    node: str
    checkpoints: Mapping[str, str] | None
    fingerprint: bytes
    effect: str
    state: str
    idempotency_key: str | None
    error: Mapping[str, Any] | None
    sealed: bytes | None
    created_at: datetime
    has_attempts: bool

    @property
    def may_have_acted(self) -> bool:
        """Whether something was sent for it that was not refused for certain."""
        return self.has_attempts and self.effect != "read" and self.state in ("done", "sent", "in_doubt")

    @property
    def is_set_aside(self) -> bool:
        """Whether it is only asked about, never replayed: of a run that was rolled back, or of the original."""
        return self.slot.startswith("~")

    @property
    def is_of_original(self) -> bool:
        """Whether the thread that this one was copied from has made it."""
        return self.slot.startswith(COPIED)

    @property
    def is_question(self) -> bool:
        """Whether it waits for a person before anything is sent for it."""
        return self.state == "in_doubt" and not self.has_attempts


@dataclass(frozen=True, slots=True)
class RecordedAttempt:
    """A row of `call_attempts`, as far as its settling needs it."""

    attempt_id: UUID
    outcome: str
    status: int | None
    timeout_s: float
    age_s: float
    """Since `sent`, by the database's clock."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt, and with it of its call."""

    attempt_id: UUID
    call_id: UUID
    outcome: str
    """answered | no_response | not_sent"""
    status: int | None = None
    response_body: Any = None
    """Redacted."""
    detail: str | None = None
    state: str | None = None
    """The call's new state; None leaves the call as it is."""
    result: Any = None
    """Redacted."""
    error: Mapping[str, Any] | None = None
    sealed: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person decided."""

    ask_id: UUID
    decision: str
    value: Any
