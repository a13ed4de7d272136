"""SQL of calls, for people; what a run does with them stands in `journal.py`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, Text, cast, func
from sqlalchemy.orm import defer, selectinload

from perron.errors import CallNotFoundError
from perron.models.call import Call
from perron.repositories.base import BaseRepository


class CallRepository(BaseRepository[Call]):
    """Calls of a caller, without their sealed answers."""

    model = Call
    not_found = CallNotFoundError

    def matching(
        self,
        *,
        run_id: UUID | None = None,
        thread_id: UUID | None = None,
        operation: str | None = None,
        state: str | None = None,
    ) -> Select[Call]:
        """Return the query for calls, newest first."""
        query = self.select(defer(Call.sealed))
        for column, value in (
            (Call.run_id, run_id),
            (Call.thread_id, thread_id),
            (Call.operation, operation),
            (Call.state, state),
        ):
            if value is not None:
                query = query.where(column == value)
        return query.order_by(Call.created_at.desc(), Call.call_id.desc())

    async def get_with_attempts(self, call_id: UUID) -> Call:
        """Return a call and its attempts.

        Raises:
            CallNotFoundError: No call of this caller has the id.
        """
        return await self.get(call_id, defer(Call.sealed), selectinload(Call.attempts))

    async def find_by_end(self, digits: str, *, limit: int = 2) -> Sequence[Call]:
        """Return calls whose id ends so, with their attempts: uuid7s of one day begin alike."""
        ends = func.replace(cast(Call.call_id, Text), "-", "").endswith(digits)
        query = self.select(defer(Call.sealed), selectinload(Call.attempts)).where(ends).limit(limit)
        return (await self.session.execute(query)).scalars().all()
