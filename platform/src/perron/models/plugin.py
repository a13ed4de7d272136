"""Plugins as they were found at the last start."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Stamped


class Plugin(Stamped, Base):
    """An entry point of the group `perron.plugins`, loaded or not."""

    __tablename__ = "plugins"

    name: Mapped[str] = mapped_column(primary_key=True)
    distribution: Mapped[str | None]
    version: Mapped[str | None]
    state: Mapped[str]
    """loaded | failed | denied"""
    error: Mapped[str | None]
    load_ms: Mapped[int | None]
