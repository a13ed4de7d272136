"""Asks: what waits for a person, and the answers."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from perron.models.base import Base, Created, Owned

if TYPE_CHECKING:
    from perron.models.run import Run
AskKind = Literal["interrupt", "approval", "unknown_outcome", "mismatch", "connection"]
AskState = Literal["open", "answered", "applied", "dropped"]


class Ask(Owned, Created, Base):
    """A question to a person. At most one is open per interrupt of a thread."""

    __tablename__ = "asks"
    __table_args__ = (
        Index(None, "tenant", "state", "created_at"),
        Index("uq_asks_open", "thread_id", "interrupt_id", unique=True, postgresql_where=text("state = 'open'")),
    )

    ask_id: Mapped[UUID] = mapped_column(primary_key=True)
    thread_id: Mapped[UUID] = mapped_column(ForeignKey("perron.threads.thread_id", ondelete="CASCADE"))
    run_id: Mapped[UUID] = mapped_column(ForeignKey("perron.runs.run_id", ondelete="CASCADE"), index=True)
    """The run that stopped for it."""
    interrupt_id: Mapped[str]
    """LangGraph's id of the interrupt, 32 hex digits; for our own asks derived from the slot."""
    call_id: Mapped[UUID | None]
    """The call that it is about; none for interrupts and approvals of an agent's own."""
    kind: Mapped[str]
    """interrupt | approval | unknown_outcome | mismatch | connection"""
    question: Mapped[str]
    arguments: Mapped[Any | None] = mapped_column(JSONB())
    """What would be done, redacted; for an interrupt its value."""
    decisions: Mapped[list[str]] = mapped_column(server_default="[]")
    """Answers that are allowed: approve, edit, reject, respond; use_recorded, give_result, send, abort."""
    answer_schema: Mapped[dict[str, Any] | None]
    """JSON schema of the value that goes with `edit`, `respond` or `give_result`."""
    state: Mapped[str] = mapped_column(server_default="open")
    """open | answered | applied (its call went on with the answer) | dropped (its thread went on without it)"""
    deadline: Mapped[datetime | None]

    run: Mapped[Run] = relationship(back_populates="asks", lazy="raise")
    answer: Mapped[AskAnswer | None] = relationship(back_populates="ask", lazy="raise", passive_deletes=True)


class AskAnswer(Created, Base):
    """The one answer of an ask: its primary key refuses a second."""

    __tablename__ = "ask_answers"

    ask_id: Mapped[UUID] = mapped_column(ForeignKey("perron.asks.ask_id", ondelete="CASCADE"), primary_key=True)
    decision: Mapped[str]
    value: Mapped[Any | None] = mapped_column(JSONB())
    answered_by: Mapped[str]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("perron.runs.run_id", ondelete="CASCADE"), index=True)
    """The run that resumes the thread with it."""

    ask: Mapped[Ask] = relationship(back_populates="answer", lazy="raise")
