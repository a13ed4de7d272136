"""What a run has replaced that was there before it: kept until it ends, and put back if it is rolled back."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from perron.models.base import Base


class ReplacedWrite(Base):
    """A row of LangGraph's `checkpoint_writes`, at a checkpoint from before the run, that it has written."""

    __tablename__ = "replaced_writes"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("perron.runs.run_id", ondelete="CASCADE"), primary_key=True)
    checkpoint_ns: Mapped[str] = mapped_column(primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(primary_key=True)
    task_id: Mapped[str] = mapped_column(primary_key=True)
    idx: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    task_path: Mapped[str | None]
    channel: Mapped[str | None]
    """What stood there; null: nothing did."""
    type: Mapped[str | None]
    blob: Mapped[bytes | None]


class KeptSeal(Base):
    """The sealed answer of an earlier run's call that a checkpoint of the run has made needless."""

    __tablename__ = "kept_seals"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("perron.runs.run_id", ondelete="CASCADE"), primary_key=True)
    call_id: Mapped[UUID] = mapped_column(
        ForeignKey("perron.calls.call_id", ondelete="CASCADE"), primary_key=True, index=True
    )
    sealed: Mapped[bytes]
