"""Runs: one execution of an agent on a thread."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from perron.models.base import Base, Owned, Stamped

if TYPE_CHECKING:
    from perron.models.ask import Ask
    from perron.models.thread import Thread

RunStatus = Literal["pending", "running", "success", "error", "timeout", "interrupted"]
RunFilter = Literal[RunStatus, "waiting"]
"""What lists of runs are asked for; `waiting` is a `success` with an open ask, which the SDK has no status for."""
CancelAction = Literal["interrupt", "rollback"]
"""Keep what the run has done, or take it back."""
ACTIVE = ("pending", "running")


class Run(Owned, Stamped, Base):
    """The SDK's run, with what makes it durable: place in line, epoch, attempt, input_applied."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("thread_id", "seq"),
        Index(None, "tenant", "status", "created_at"),
        Index("ix_runs_active", "thread_id", "seq", postgresql_where=text("status IN ('pending', 'running')")),
        Index(
            "uq_runs_idempotency_key",
            "tenant",
            "created_by",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    thread_id: Mapped[UUID] = mapped_column(ForeignKey("perron.threads.thread_id", ondelete="CASCADE"))
    assistant_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("perron.assistants.assistant_id", ondelete="SET NULL"), index=True
    )
    graph_id: Mapped[str]
    agent_version: Mapped[str | None]
    seq: Mapped[int]
    """Place in the thread's line, from 1; those of runs that were rolled back are not given again."""
    status: Mapped[str] = mapped_column(server_default="pending")
    """pending | running | success | error | timeout | interrupted (cancelled)"""
    epoch: Mapped[int] = mapped_column(server_default="0")
    """The fencing number: raised at each claim."""
    attempt: Mapped[int] = mapped_column(server_default="0")
    """Claims since the last one that found a step done."""
    claimed_checkpoint_id: Mapped[str | None]
    """The thread's latest checkpoint at the last claim: a step that ended after it starts `attempt` anew."""
    not_before: Mapped[datetime | None]
    priority: Mapped[int] = mapped_column(server_default="0")
    multitask_strategy: Mapped[str] = mapped_column(server_default="enqueue")
    created_by: Mapped[str] = mapped_column(server_default="system")
    """Who created it, also after its thread was transferred: idempotency keys are theirs."""
    idempotency_key: Mapped[str | None]
    input_applied: Mapped[bool] = mapped_column(server_default="false")
    """The input, or the command's update and goto, stand in a checkpoint: later attempts start from there."""
    cancel_action: Mapped[str | None]
    """interrupt | rollback: a cancel that the executing worker has to carry out. Nothing takes a rollback back."""
    kwargs: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """{"input": …, "command": {…} | null, "config": {…}, "context": {…}, "stream_mode": […],
    "stream_subgraphs": false, "stream_resumable": false, "interrupt_before": … , "interrupt_after": …,
    "checkpoint": …, "is_branch": false, "durability": "sync", "settings": {"agent": {…}, "<integration>": {…}}};
    the settings are frozen here."""
    worker_id: Mapped[UUID | None]
    """Who executes it; no foreign key: a dead worker's row goes while its runs still name it."""
    parked_by: Mapped[UUID | None]
    """The pause for which it was given back in line before a call or a step; it waits as long as that one stands.
    No foreign key: pauses go without touching the runs that wait for them."""
    output: Mapped[Any | None] = mapped_column(JSONB())
    """What the graph returned, as JSON; null until the run has ended."""
    is_sanitised: Mapped[bool] = mapped_column(server_default="false")
    """Something that PostgreSQL refuses (\\u0000, a lone surrogate, NaN) was replaced in output or values."""
    error: Mapped[dict[str, Any] | None]
    """{"error": "ValueError", "message": "…"}"""
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    webhook: Mapped[str | None]
    """A URL that is told when the run has ended, by way of `webhook_deliveries`."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    thread: Mapped[Thread] = relationship(back_populates="runs", lazy="raise")
    asks: Mapped[list[Ask]] = relationship(
        back_populates="run", lazy="raise", passive_deletes=True, order_by="Ask.ask_id"
    )
