"""SQL of asks and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Text, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import joinedload

from perron.errors import AskNotFoundError
from perron.models.ask import Ask, AskAnswer
from perron.repositories.base import BaseRepository


class AskRepository(BaseRepository[Ask]):
    """What waits for a person, of a caller."""

    model = Ask
    not_found = AskNotFoundError

    async def get_open(self, thread_id: UUID, *, lock: bool = False) -> Sequence[Ask]:
        """Return what a thread waits for, in the order asked, each with the run that stopped for it."""
        query = self.select(joinedload(Ask.run, innerjoin=True))
        query = query.where(Ask.thread_id == thread_id, Ask.state == "open").order_by(Ask.ask_id)
        if lock:
            query = query.with_for_update(key_share=True, of=Ask)
        return (await self.session.execute(query)).scalars().all()

    async def drop_open(self, thread_id: UUID) -> None:
        """Drop what a thread waits for: it goes on without."""
        await self.session.execute(
            update(Ask)
            .where(Ask.thread_id == thread_id, Ask.state == "open", *self.visible())
            .values(state="dropped")
        )

    async def find_by_end(self, digits: str) -> Sequence[Ask]:
        """Return up to two asks whose id ends so, with their answers.

        People copy ends: the beginning of a uuid7 is the time.
        """
        ends_so = func.replace(cast(Ask.ask_id, Text), "-", "").endswith(digits, autoescape=True)
        query = self.select(joinedload(Ask.answer)).where(ends_so).limit(2)
        return (await self.session.execute(query)).scalars().all()

    async def search(
        self,
        *,
        state: str | None = "open",
        thread_id: UUID | None = None,
        kind: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[Ask]:
        """Return a page, oldest first: who has waited longest comes first."""
        query = self.select(joinedload(Ask.answer), joinedload(Ask.run))
        if state is not None:
            query = query.where(Ask.state == state)
        if thread_id is not None:
            query = query.where(Ask.thread_id == thread_id)
        if kind is not None:
            query = query.where(Ask.kind == kind)
        query = query.order_by(Ask.created_at, Ask.ask_id).limit(limit).offset(offset)
        return (await self.session.execute(query)).scalars().all()

    async def answer(self, ask_id: UUID, *, decision: str, value: Any, answered_by: str, run_id: UUID) -> bool:
        """Store the one answer of an ask and close it; False when it has one already."""
        statement = (
            insert(AskAnswer)
            .values(ask_id=ask_id, decision=decision, value=value, answered_by=answered_by, run_id=run_id)
            .on_conflict_do_nothing()
            .returning(AskAnswer.ask_id)
        )
        if (await self.session.execute(statement)).first() is None:
            return False
        await self.session.execute(
            update(Ask).where(Ask.ask_id == ask_id, *self.visible()).values(state="answered")
        )
        return True

    async def reopen(self, run_id: UUID) -> None:
        """Take back the answers that a run brought which nobody has executed."""
        answers = select(AskAnswer.ask_id).where(AskAnswer.run_id == run_id)
        is_theirs = (Ask.ask_id.in_(answers), Ask.state == "answered", *self.visible())
        await self.session.execute(update(Ask).where(*is_theirs).values(state="open"))
        await self.session.execute(delete(AskAnswer).where(AskAnswer.run_id == run_id))

    async def transfer(self, thread_id: UUID, *, to: str) -> None:
        """Make all asks of a thread another principal's."""
        await self.session.execute(update(Ask).where(Ask.thread_id == thread_id, *self.visible()).values(owner=to))
