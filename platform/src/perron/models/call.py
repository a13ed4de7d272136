"""Calls: the journal of every use of an operation or effect, and their HTTP attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from perron.models.base import Base, Owned, Stamped

CallState = Literal["begun", "sent", "done", "failed", "in_doubt", "aborted"]


class Call(Owned, Stamped, Base):
    """One call. Its slot is unique, so a run that comes back finds what it did.

    No foreign keys to threads and runs: calls outlive them.
    """

    __tablename__ = "calls"
    __table_args__ = (
        UniqueConstraint("thread_id", "task_id", "tool_call_id", "operation", "slot"),
        Index(None, "tenant", "state", "created_at"),
        Index(None, "run_id"),
        Index(None, "thread_id", "operation", "fingerprint"),
        Index("ix_calls_sealed", "thread_id", "checkpoint_ns", postgresql_where=text("sealed IS NOT NULL")),
    )

    call_id: Mapped[UUID] = mapped_column(primary_key=True)
    thread_id: Mapped[UUID]
    run_id: Mapped[UUID]
    """The run that began it."""
    task_id: Mapped[str]
    """LangGraph's id of the innermost task whose graph writes checkpoints."""
    tool_call_id: Mapped[str] = mapped_column(server_default="")
    operation: Mapped[str]
    """`<integration>.<operation>`, or an effect's name."""
    slot: Mapped[str]
    """`#<ordinal>` within (task, tool call, operation), with `/<n>` for a call that stands where another one was
    recorded; `=<key>` for `.once(key)`, whose task is ''; `@<id>` for what is never replayed: plain reads;
    `~<run id>#<ordinal>` for those of a run that was rolled back; `~copy/<call id>` in a copy of the thread."""
    checkpoint_ns: Mapped[str] = mapped_column(server_default="")
    """The namespace whose next checkpoint clears `sealed`; `*` for `.once(key)`: kept as long as the thread."""
    node: Mapped[str] = mapped_column(server_default="")
    checkpoints: Mapped[dict[str, Any] | None]
    """{"<namespace>": "<checkpoint id>"}: the checkpoints that the task started from, its own graph's and its
    parents'. Two tasks of one superstep share them; a superstep that was left behind has others."""
    fingerprint: Mapped[bytes]
    """HMAC-SHA256 of the canonical arguments."""
    effect: Mapped[str]
    """read | create | update | delete"""
    repeat: Mapped[str]
    """read | Harmless | SameKey | LookUp | AskPerson"""
    state: Mapped[str]
    """begun (nothing was done) | sent | done | failed (a definite no, recorded) | in_doubt (a person is asked) |
    aborted"""
    plugin_version: Mapped[str | None]
    connection_id: Mapped[UUID | None]
    idempotency_key: Mapped[str | None]
    """Sent to the API with SameKey, or the client marker with LookUp."""
    arguments: Mapped[Any | None] = mapped_column(JSONB())
    """Redacted, for people."""
    result: Mapped[Any | None] = mapped_column(JSONB())
    """Redacted, for people."""
    error: Mapped[dict[str, Any] | None]
    """{"code": "invalid", "message": "…", "status": 422}"""
    sealed: Mapped[bytes | None]
    """The full response (AES-256-GCM under the thread's key), for replay only, until the next checkpoint."""
    finished_at: Mapped[datetime | None]

    attempts: Mapped[list[CallAttempt]] = relationship(
        back_populates="call", lazy="raise", order_by="CallAttempt.sent_at", passive_deletes=True
    )


class CallAttempt(Base):
    """One try to send: an HTTP request, or one execution of an effect's function."""

    __tablename__ = "call_attempts"

    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    call_id: Mapped[UUID] = mapped_column(ForeignKey("perron.calls.call_id", ondelete="CASCADE"), index=True)
    run_id: Mapped[UUID]
    epoch: Mapped[int]
    """The run's epoch under which `sent` was committed."""
    worker_id: Mapped[UUID | None]
    method: Mapped[str | None]
    host: Mapped[str | None]
    path: Mapped[str | None]
    timeout_s: Mapped[float]
    """The deadline of the whole attempt."""
    outcome: Mapped[str]
    """sent | answered | no_response | not_sent"""
    status: Mapped[int | None]
    request_body: Mapped[Any | None] = mapped_column(JSONB())
    """Redacted."""
    response_body: Mapped[Any | None] = mapped_column(JSONB())
    """Redacted."""
    error: Mapped[str | None]
    sent_at: Mapped[datetime]
    """By the database's clock; a successor waits `5 s + timeout_s + settle_s` from here."""
    finished_at: Mapped[datetime | None]

    call: Mapped[Call] = relationship(back_populates="attempts", lazy="raise")
