"""Agents: graphs as they were registered at the last start."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Stamped


class Agent(Stamped, Base):
    """A graph and its metadata; its name is the SDK's `graph_id`."""

    __tablename__ = "agents"

    graph_id: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default="")
    distribution: Mapped[str | None]
    version: Mapped[str | None]
    entry_point: Mapped[str] = mapped_column(server_default="")
    schemas: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """{"input": …, "output": …, "state": …, "context": …, "settings": …}, each a JSON schema or null."""
    uses: Mapped[list[str]] = mapped_column(server_default="[]")
    """Operations that it may use: ["desk.refund", …]."""
    state: Mapped[str] = mapped_column(server_default="loaded")
    """loaded | failed | denied | missing"""
    error: Mapped[str | None]
