"""SQL of threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert

from perron.errors import ThreadNotFoundError
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
