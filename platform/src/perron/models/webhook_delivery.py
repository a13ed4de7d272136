"""Webhook deliveries: the ends of runs that somebody is still to be told of, or was."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Owned, Stamped

DeliveryState = Literal["pending", "delivered", "failed"]


class WebhookDelivery(Owned, Stamped, Base):
    """The outbox: a trigger of `runs` writes a row in the transaction that ends a run (revision 0007).

    No foreign keys: what is to be told outlives run and thread.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(None, "tenant", "state", "created_at"),
        Index("ix_webhook_deliveries_due_at", "due_at", postgresql_where=text("state = 'pending'")),
        Index("ix_webhook_deliveries_ended", "updated_at", postgresql_where=text("state <> 'pending'")),
    )

    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    """The header `webhook-id`, the same at each attempt."""
    run_id: Mapped[UUID] = mapped_column(index=True)
    thread_id: Mapped[UUID]
    url: Mapped[str]
    run: Mapped[dict[str, Any] | None]
    """The SDK's run with `run_started_at`, `run_ended_at` and `error`; null once it is delivered."""
    values: Mapped[Any | None] = mapped_column(JSONB())
    """The thread's state at the end of the run; null once it is delivered."""
    interrupts: Mapped[list[Any] | None]
    """[{"id": …, "value": …}]: what the run has stopped for; null where it did not."""
    state: Mapped[str] = mapped_column(server_default="pending")
    """pending | delivered | failed (given up)"""
    attempts: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """The next attempt; while one is under way, when it counts as lost."""
    answer_status: Mapped[int | None]
    """HTTP status of the last answer."""
    error: Mapped[str | None]
    """Why the last attempt failed: one sentence."""
    delivered_at: Mapped[datetime | None]
