"""SQL of calls, for people; what a run does with them stands in `journal.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, Text, and_, cast, func, insert, or_, select
from sqlalchemy.orm import defer, selectinload

from perron import clock
from perron.errors import CallNotFoundError
from perron.ids import least_id, new_id
from perron.models.call import Call, CallAttempt
from perron.models.thread import Thread
from perron.repositories.base import BaseRepository, columns_of, older_than
from perron.repositories.recorded import COPIED


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

    async def delete_settled(self, *, age: timedelta, limit: int) -> Sequence[UUID]:
        """Delete calls, whoever's they are, that were settled so long ago and that no run can come to again.

        Of a thread that is gone all go. Of one that has come to its end those go that its state has the results
        of; the calls of all other threads stay, and so does what was made `.once`, is in doubt, or was taken back.
        """
        thread = select(Thread.status).where(Thread.thread_id == Call.thread_id).correlate(Call).scalar_subquery()
        is_applied = and_(
            Call.state.not_in(("sent", "in_doubt")),
            Call.sealed.is_(None),
            ~Call.slot.startswith("="),
            ~Call.slot.startswith("~"),
        )
        return await self.delete_some(
            Call.call_id < least_id(clock.now() - age),  # by the index: no call is settled before its id is made
            Call.updated_at < older_than(age),
            or_(thread.is_(None), and_(thread == "idle", is_applied)),
            limit=limit,
        )

    async def copy_doubts(self, thread_id: UUID, *, to: UUID) -> None:
        """Let another thread know of the writes that this one's state does not have the results of.

        Should it come to one of them, a person is asked: see `RecordedCall.is_of_original`.
        """
        is_open = and_(Call.slot.startswith("#"), or_(Call.sealed.is_not(None), Call.state != "done"))
        query = (
            select(Call)
            .where(Call.thread_id == thread_id, Call.effect != "read", Call.attempts.any())
            .where(Call.state.in_(("done", "sent", "in_doubt")), or_(is_open, Call.slot.startswith("~")))
            .options(defer(Call.sealed), selectinload(Call.attempts))
        )
        for call in (await self.session.execute(query)).scalars():
            values = columns_of(call)
            values |= {"call_id": new_id(), "thread_id": to, "slot": f"{COPIED}{call.call_id}"}
            values |= {"state": "done" if call.state == "done" else "in_doubt", "checkpoint_ns": "*"}
            attempts = [
                {**columns_of(each), "attempt_id": new_id(), "call_id": values["call_id"]}
                for each in call.attempts
            ]
            await self.session.execute(insert(Call.__table__), [values])  # type: ignore[arg-type]  # a Table
            await self.session.execute(insert(CallAttempt.__table__), attempts)  # type: ignore[arg-type]  # a Table

    async def find_by_end(self, digits: str, *, limit: int = 2) -> Sequence[Call]:
        """Return calls whose id ends so, with their attempts: uuid7s of one day begin alike."""
        ends = func.replace(cast(Call.call_id, Text), "-", "").endswith(digits)
        query = self.select(defer(Call.sealed), selectinload(Call.attempts)).where(ends).limit(limit)
        return (await self.session.execute(query)).scalars().all()
