"""Run events: what a run streams, in wire shape."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Created


class RunEvent(Created, Base):
    """One event; its wire id is `<epoch>-<n>`, contiguous in an epoch.

    Partitioned by uuid7 `run_id`, a partition a week, so that old events go by dropping tables.
    """

    __tablename__ = "run_events"
    __table_args__ = ({"postgresql_partition_by": "RANGE (run_id)"},)

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    """From 1; a packed row holds n_first..n."""
    n_first: Mapped[int]
    """Equal to `n`, but in packed rows. Ranges tile an epoch: a reader finds a gap by them."""
    event: Mapped[str]
    """The SSE event without its namespace: metadata, values, updates, messages, custom, …, step, error, end."""
    namespace: Mapped[str] = mapped_column(server_default="")
    """`node:task_id`, levels joined by `|`; empty for the root graph."""
    payload: Mapped[Any | None] = mapped_column(JSONB())
    """The event's `data`. A `values` event keeps {"checkpoint_id": …} instead of the state. A packed row keeps
    {"bases": [[namespace, message, metadata], …], "tokens": [[place of its base, what differs from it], …]}."""
