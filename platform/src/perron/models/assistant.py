"""Assistants: an agent with a configuration, versioned."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from perron.models.base import Base, Created, Owned, Stamped


class Assistant(Owned, Stamped, Base):
    """The SDK's assistant; each agent has one of the system, with the SDK's uuid5 id."""

    __tablename__ = "assistants"
    __table_args__ = (Index(None, "tenant", "graph_id", "created_at"),)

    assistant_id: Mapped[UUID] = mapped_column(primary_key=True)
    graph_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default="1")
    config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """{"tags": […], "recursion_limit": 25, "configurable": {…}}"""
    context: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")

    versions: Mapped[list[AssistantVersion]] = relationship(
        back_populates="assistant",
        lazy="raise",
        order_by="AssistantVersion.version.desc()",
        passive_deletes=True,
    )


class AssistantVersion(Created, Base):
    """One version of an assistant, as it was written."""

    __tablename__ = "assistant_versions"

    assistant_id: Mapped[UUID] = mapped_column(
        ForeignKey("perron.assistants.assistant_id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(primary_key=True)
    graph_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    context: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")

    assistant: Mapped[Assistant] = relationship(back_populates="versions", lazy="raise")
