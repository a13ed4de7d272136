"""Pauses: what operators have stopped for a while, and why."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Stamped

PauseKind = Literal["agent", "integration", "connection", "all"]


class Pause(Stamped, Base):
    """Nothing of this is begun in its tenant until the row is deleted; `created_at` says since when."""

    __tablename__ = "pauses"
    __table_args__ = (UniqueConstraint("tenant", "kind", "name"),)

    pause_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(server_default="default")
    kind: Mapped[str]
    """agent | integration | connection | all"""
    name: Mapped[str] = mapped_column(server_default="")
    """The agent's or integration's; of a connection `integration/name`, whoever's it is; empty for `all`."""
    reason: Mapped[str]
    """Of whoever paused it last."""
    paused_by: Mapped[str]

    @property
    def subject(self) -> str:
        """What is paused, in words: `agent refunds`, `everything`."""
        return "everything" if self.kind == "all" else f"{self.kind} {self.name}"
