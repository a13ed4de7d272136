"""Run readers: those whose disconnect cancels the run that they read."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base, Created


class RunReader(Created, Base):
    """One reader, as long as it reads. Others, of which a run has any number, have no row.

    No foreign key: tidying takes rows whose run has ended or is gone.
    """

    __tablename__ = "run_readers"

    reader_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID]
    process_key: Mapped[int] = mapped_column(BigInteger())
    """The advisory lock that the reader's process holds as long as it lives."""
