"""SQL of threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, case, delete, exists, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from perron.errors import ThreadNotFoundError
from perron.models.ask import Ask
from perron.models.cron import Cron
from perron.models.run import ACTIVE, Run
from perron.models.thread import Thread
from perron.repositories.base import BaseRepository, columns_of

BUSY, CRON, WAITS = "busy", "cron", "waits"
"""What a thread is used for: a run is in line, it has a cron that has not ended, or it waits for a person."""


class ThreadRepository(BaseRepository[Thread]):
    """Threads of a caller."""

    model = Thread
    not_found = ThreadNotFoundError

    async def create_if_absent(
        self, thread_id: UUID, *, metadata: dict[str, Any], ttl: dict[str, Any] | None = None
    ) -> bool:
        """Insert an idle thread of the caller; say whether it was new."""
        statement = (
            insert(Thread)
            .values(
                thread_id=thread_id,
                tenant=self.caller.tenant,
                owner=self.caller.principal,
                metadata_=metadata,
                ttl=null() if ttl is None else ttl,
            )
            .on_conflict_do_nothing()
            .returning(Thread.thread_id)
        )
        return (await self.session.execute(statement)).first() is not None

    async def search(
        self,
        *,
        status: str | None = None,
        metadata: dict[str, Any] | None = None,
        created_before: datetime | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[Thread]:
        """Return a page, newest first; `metadata` must be contained in the thread's."""
        query = self.select()
        if status is not None:
            query = query.where(Thread.status == status)
        if metadata:
            query = query.where(Thread.metadata_.contains(metadata))
        if created_before is not None:
            query = query.where(Thread.created_at < created_before)
        query = query.order_by(Thread.created_at.desc(), Thread.thread_id).limit(limit).offset(offset)
        return (await self.session.execute(query)).scalars().all()

    async def transfer(self, thread_id: UUID, *, to: str) -> None:
        """Make it another principal's."""
        await self.session.execute(
            update(Thread).where(Thread.thread_id == thread_id, *self.visible()).values(owner=to)
        )

    async def change(self, thread_id: UUID, **values: Any) -> None:
        """Set columns of a thread that the caller may see; that is an update of it."""
        statement = update(Thread).where(Thread.thread_id == thread_id, *self.visible())
        values = {name: null() if value is None else value for name, value in values.items()}
        await self.session.execute(statement.values(values).execution_options(synchronize_session=False))

    async def copy(self, thread: Thread, *, to: UUID) -> None:
        """Insert a thread of the same owner with the same state; nothing waits in it, and it has had no run."""
        values = columns_of(thread)
        for name in ("data_key", "expires_at", "is_temporary", "created_at", "updated_at", "next_seq"):
            values.pop(name, None)
        values |= {"thread_id": to, "status": thread.rest_status, "interrupts": {}}
        values |= {name: null() for name in ("values", "error", "ttl") if values[name] is None}
        await self.session.execute(insert(cast("Table", Thread.__table__)).values(values))

    async def find_ids(self, *, status: str | None = None, older_than: timedelta | None = None) -> Sequence[UUID]:
        """Return all threads of the caller, those first that were updated the longest ago."""
        query = select(Thread.thread_id).where(*self.visible(), *_matching(status, older_than))
        return (await self.session.execute(query.order_by(Thread.updated_at))).scalars().all()

    async def lock_all(
        self, thread_ids: Sequence[UUID], *, status: str | None = None, older_than: timedelta | None = None
    ) -> Sequence[UUID]:
        """Lock those of these threads that the caller may see, so that no run begins in them; return their ids.

        Only those that match when the lock is there, whatever committed meanwhile.
        """
        query = select(Thread.thread_id).where(
            Thread.thread_id.in_(thread_ids), *self.visible(), *_matching(status, older_than)
        )
        query = query.order_by(Thread.thread_id).with_for_update(key_share=True)
        return (await self.session.execute(query)).scalars().all()

    async def take_expired(self, *, with_waiting: bool) -> tuple[UUID, str] | None:
        """Lock a thread, whoever's it is, whose time is over and that is not used; return its strategy too.

        Look at it once more then: what has begun to use it may have committed before the lock.
        """
        uses = _uses()
        if with_waiting:
            uses.pop(WAITS)
        query = (
            select(Thread.thread_id, Thread.ttl["strategy"].astext)
            .where(Thread.expires_at <= func.clock_timestamp(), ~or_(*uses.values()))
            .order_by(Thread.expires_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row = (await self.session.execute(query)).one_or_none()
        return None if row is None else (row[0], row[1])

    async def postpone(self, thread_id: UUID, by: timedelta) -> None:
        """Let a thread expire so much later than now."""
        statement = update(Thread).where(Thread.thread_id == thread_id)
        values = {"expires_at": func.clock_timestamp() + by, "updated_at": Thread.updated_at}
        await self.session.execute(statement.values(values).execution_options(synchronize_session=False))

    async def find_used(self, thread_ids: Sequence[UUID]) -> dict[UUID, str]:
        """Return what speaks against pruning threads, for those where something does; lock them first."""
        uses = _uses()
        why = case(*((condition, use) for use, condition in uses.items()))
        query = select(Thread.thread_id, why).where(Thread.thread_id.in_(thread_ids), or_(*uses.values()))
        return {row[0]: row[1] for row in await self.session.execute(query)}

    async def has_been_pruned(self, thread_id: UUID) -> None:
        """Note that only a thread's newest state is left: it expires again after its next update, not before."""
        is_done = Thread.expires_at.is_not(None), Thread.ttl["strategy"].astext == "keep_latest"
        statement = update(Thread).where(Thread.thread_id == thread_id, *is_done)
        values = {"expires_at": None, "updated_at": Thread.updated_at}
        await self.session.execute(statement.values(values).execution_options(synchronize_session=False))

    async def take_temporary(self, *, idle_for: timedelta, limit: int) -> Sequence[UUID]:
        """Lock temporary threads, whoever's they are, in which nothing is in line or waits for so long."""
        has_active = exists().where(Run.thread_id == Thread.thread_id, Run.status.in_(ACTIVE))
        query = (
            select(Thread.thread_id)
            .where(
                Thread.is_temporary,
                Thread.status.in_(("idle", "error")),
                Thread.state_updated_at <= func.clock_timestamp() - idle_for,
                ~has_active,
            )
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return (await self.session.execute(query)).scalars().all()

    async def delete_any(self, thread_ids: Sequence[UUID]) -> None:
        """Delete threads, whoever's they are, with their runs, asks and crons."""
        await self.session.execute(delete(Thread).where(Thread.thread_id.in_(thread_ids)))


def _matching(status: str | None, older_than: timedelta | None) -> list[ColumnElement[bool]]:
    """Return the conditions of threads with this status, whose last update is so long ago."""
    conditions = []
    if status is not None:
        conditions.append(Thread.status == status)
    if older_than is not None:
        conditions.append(Thread.updated_at < func.clock_timestamp() - older_than)
    return conditions


def _uses() -> dict[str, ColumnElement[bool]]:
    """Return when a thread is used, by what for, the most urgent first."""
    has_active = exists().where(Run.thread_id == Thread.thread_id, Run.status.in_(ACTIVE))
    return {
        BUSY: or_(Thread.status == "busy", has_active),
        # A disabled cron has no next date, and may be enabled again.
        CRON: exists().where(
            Cron.thread_id == Thread.thread_id,
            or_(Cron.next_run_date.is_not(None), Cron.end_time.is_(None), Cron.end_time > func.clock_timestamp()),
        ),
        WAITS: or_(
            Thread.status == "interrupted", exists().where(Ask.thread_id == Thread.thread_id, Ask.state == "open")
        ),
    }
