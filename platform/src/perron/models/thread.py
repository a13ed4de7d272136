"""Threads: the state that runs share, and its status."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, WriteOnlyMapped, mapped_column, relationship

from perron.models.base import Base, Owned, Stamped

if TYPE_CHECKING:
    from perron.models.run import Run
ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
PruneStrategy = Literal["delete", "keep_latest"]
"""What goes: the thread, or all of its checkpoints but the newest of each namespace."""


class Thread(Owned, Stamped, Base):
    """The SDK's thread."""

    __tablename__ = "threads"
    __table_args__ = (
        Index(None, "tenant", "status", "created_at"),
        Index(
            "ix_threads_metadata",
            "metadata",
            postgresql_using="gin",
            postgresql_ops={"metadata": "jsonb_path_ops"},
        ),
        Index("ix_threads_temporary", "thread_id", postgresql_where=text("is_temporary")),
        Index("ix_threads_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )

    thread_id: Mapped[UUID] = mapped_column(primary_key=True)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    """The user's, and {"graph_id": …, "assistant_id": …} from the first run on."""
    status: Mapped[str] = mapped_column(server_default="idle")
    """idle | busy | interrupted | error"""
    rest_status: Mapped[str] = mapped_column(server_default="idle")
    """What `status` is while no run is in line: what the last run that ended has left."""
    values: Mapped[dict[str, Any] | None]
    """The state after the last run, as JSON; null before the first."""
    interrupts: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """{task_id: [{"id": …, "value": …}]}"""
    config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    error: Mapped[dict[str, Any] | None]
    """{"error": "ValueError", "message": "…"}"""
    ttl: Mapped[dict[str, Any] | None]
    """{"strategy": "delete" | "keep_latest", "ttl_minutes": 60}"""
    expires_at: Mapped[datetime | None]
    """`ttl` after `updated_at`: a trigger sets it (revision 0010). Null without a ttl, and once its earlier
    checkpoints are gone, until the next update."""
    is_temporary: Mapped[bool] = mapped_column(server_default="false")
    """It goes when its run has ended and nothing waits in it."""
    next_seq: Mapped[int] = mapped_column(server_default="1")
    """The place in line of the next run."""
    data_key: Mapped[bytes | None] = mapped_column(deferred=True)
    """Wrapped key of the calls' sealed responses; without it they are gone for good."""
    state_updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    runs: WriteOnlyMapped[Run] = relationship(back_populates="thread", passive_deletes=True)
