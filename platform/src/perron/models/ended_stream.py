"""Ended streams: runs whose events are still to be deleted or packed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base


class EndedStream(Base):
    """A trigger of `runs` writes a row in the transaction that ends a run (revision 0011), and tidying takes it.

    No foreign key: for a run that is gone by then there is nothing to do.
    """

    __tablename__ = "ended_streams"

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    is_resumable: Mapped[bool]
    """Its events stay, token events packed. Of others only what the run's timeline shows."""
    ended_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
