"""Settings that operators and users change while the platform runs, and their history."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Created, Stamped


class Setting(Stamped, Base):
    """One value. `subject` is an agent's, an integration's or a user's name; empty for the platform."""

    __tablename__ = "settings"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    """platform | agent | integration | user"""
    subject: Mapped[str] = mapped_column(primary_key=True, server_default="")
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSONB())
    changed_by: Mapped[str]


class SettingChange(Created, Base):
    """What a setting was and became; null where it was not set."""

    __tablename__ = "setting_history"
    __table_args__ = (Index(None, "tenant", "scope", "subject", "key", "created_at"),)

    change_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    scope: Mapped[str]
    subject: Mapped[str]
    key: Mapped[str]
    old_value: Mapped[Any | None] = mapped_column(JSONB())
    new_value: Mapped[Any | None] = mapped_column(JSONB())
    changed_by: Mapped[str]
