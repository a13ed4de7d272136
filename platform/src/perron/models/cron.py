"""Crons: runs that are created by the clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Owned, Stamped


class Cron(Owned, Stamped, Base):
    """The SDK's cron. Its owner is the thread's where it has one: the runs are theirs."""

    __tablename__ = "crons"
    __table_args__ = (
        Index(None, "tenant", "created_at"),
        Index("ix_crons_next_run_date", "next_run_date", postgresql_where=text("next_run_date IS NOT NULL")),
    )

    cron_id: Mapped[UUID] = mapped_column(primary_key=True)
    assistant_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("perron.assistants.assistant_id", ondelete="SET NULL"), index=True
    )
    """Null once the assistant is gone: then the cron is disabled when it is due."""
    graph_id: Mapped[str]
    """The assistant's agent when the cron was made."""
    thread_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("perron.threads.thread_id", ondelete="CASCADE"), index=True
    )
    """Null: each run has a thread of its own."""
    schedule: Mapped[str]
    """minute, hour, day of month, month, day of week"""
    timezone: Mapped[str | None]
    """A name as in `Europe/Zurich`; null is UTC."""
    end_time: Mapped[datetime | None]
    """Nothing is created after it."""
    payload: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """What was given of `RunOptions`, without metadata: {"input": …, "config": {…}, …}"""
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    """Of the cron and of its runs, which have {"cron_id": …} besides."""
    on_run_completed: Mapped[str | None]
    """delete | keep: what becomes of a run's own thread; null where the cron has a thread."""
    enabled: Mapped[bool] = mapped_column(server_default="true")
    error: Mapped[str | None]
    """Why the platform has disabled it: one sentence."""
    next_run_date: Mapped[datetime | None]
    """When the next run is due; null while disabled, and after the last one."""
