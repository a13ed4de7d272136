"""SQL of threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from perron.errors import ThreadNotFoundError
from perron.models.run import ACTIVE, Run
from perron.models.thread import Thread
from perron.repositories.base import BaseRepository


class ThreadRepository(BaseRepository[Thread]):
    """Threads of a caller."""

    model = Thread
    not_found = ThreadNotFoundError

    async def create_if_absent(self, thread_id: UUID, *, metadata: dict[str, Any]) -> bool:
        """Insert an idle thread of the caller; say whether it was new."""
        statement = (
            insert(Thread)
            .values(
                thread_id=thread_id,
                tenant=self.caller.tenant,
                owner=self.caller.principal,
                metadata_=metadata,
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
