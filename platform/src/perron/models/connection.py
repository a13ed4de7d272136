"""Connections: accounts of integrations, with sealed credentials."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Owned, Stamped

SHARED = "*"


class Connection(Owned, Stamped, Base):
    """An account of an integration. `owner` is a principal, or `*` for one that all runs may use."""

    __tablename__ = "connections"
    __table_args__ = (UniqueConstraint("tenant", "owner", "integration", "name"),)

    connection_id: Mapped[UUID] = mapped_column(primary_key=True)
    integration: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="default")
    account_id: Mapped[str | None]
    account_label: Mapped[str | None]
    """Who we are there, as `check` found it."""
    sealed: Mapped[bytes]
    """Credentials as JSON: AES-256-GCM under `data_key`, the row's identity as associated data."""
    data_key: Mapped[bytes]
    """The data key, wrapped by the key-encryption key `key_id`."""
    key_id: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="ok")
    """ok | retrying | auth_failed | disabled"""
    reason: Mapped[str | None]
