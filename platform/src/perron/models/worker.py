"""Workers: one row per process start that executes runs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, func
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base


class Worker(Base):
    """A live process: dead once `beat_at` is older than the lease; then the row goes with the first takeover."""

    __tablename__ = "workers"
    __table_args__ = (Index(None, "beat_at"),)

    worker_id: Mapped[UUID] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str]
    agents: Mapped[list[str]] = mapped_column(server_default="[]")
    """Names of the agents that it can run."""
    lease_s: Mapped[float]
    """The lease that it lives by: others wait this long after its last beat."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    beat_at: Mapped[datetime] = mapped_column(server_default=func.now())
