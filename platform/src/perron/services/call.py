"""Rules of calls: what people may see of the journal."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import get_args
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import CallNotFoundError, InvalidInputError
from perron.models.call import Call, CallState
from perron.repositories.call import CallRepository
from perron.services.filter import check_filter

_SHORTEST_END = 4


class CallService:
    """The journal of a caller's runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(
        self,
        caller: Caller,
        *,
        run_id: UUID | None = None,
        thread_id: UUID | None = None,
        operation: str | None = None,
        state: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[Call]:
        """Return a page of calls, newest first.

        Raises:
            InvalidInputError: There is no such state.
        """
        check_filter("state", "calls", state, get_args(CallState))
        async with self._database.begin() as session:
            calls = CallRepository(session, caller)
            query = calls.matching(run_id=run_id, thread_id=thread_id, operation=operation, state=state)
            return await calls.get_all(limit, offset=offset, query=query)

    async def stream(
        self,
        caller: Caller,
        *,
        run_id: UUID | None = None,
        thread_id: UUID | None = None,
        operation: str | None = None,
        state: str | None = None,
    ) -> AsyncIterator[Call]:
        """Yield all calls that match, newest first, in little memory however many they are.

        Raises:
            InvalidInputError: There is no such state.
        """
        check_filter("state", "calls", state, get_args(CallState))
        async with self._database.begin() as session:
            calls = CallRepository(session, caller)
            query = calls.matching(run_id=run_id, thread_id=thread_id, operation=operation, state=state)
            async for call in calls.stream(query):
                yield call

    async def get(self, caller: Caller, name: str | UUID) -> Call:
        """Return the call of an id, or of the end of one that people copy from a table, with its attempts.

        Raises:
            CallNotFoundError: No call has it.
            InvalidInputError: Several calls have it.
        """
        digits = str(name).replace("-", "").lower()
        if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_END},32}}", digits):
            raise CallNotFoundError(name)
        async with self._database.begin() as session:
            calls = CallRepository(session, caller)
            if len(digits) == 32:
                return await calls.get_with_attempts(UUID(digits))
            found = await calls.find_by_end(digits)
        if not found:
            raise CallNotFoundError(name)
        if len(found) > 1:
            raise InvalidInputError(f"Several calls end in {name}: give more of the id.")
        return found[0]
