"""Rules of asks: what waits for a person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import AskNotFoundError, InvalidInputError
from perron.models.ask import Ask, AskKind, AskState
from perron.repositories.ask import AskRepository
from perron.services.filter import check_filter

_SHORTEST_END = 4


class AskService:
    """Asks of a caller; answering one creates a run (`RunService.create`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(
        self,
        caller: Caller,
        *,
        state: str | None = "open",
        thread_id: UUID | None = None,
        kind: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[Ask]:
        """Return a page; who has waited longest comes first.

        Raises:
            InvalidInputError: There is no such state or kind.
        """
        check_filter("state", "asks", state, get_args(AskState))
        check_filter("kind", "asks", kind, get_args(AskKind))
        async with self._database.begin() as session:
            return await AskRepository(session, caller).search(
                state=state, thread_id=thread_id, kind=kind, limit=limit, offset=offset
            )

    async def get(self, caller: Caller, name: str | UUID) -> Ask:
        """Return the ask of an id, or of the end of one that people copy from a table.

        Raises:
            AskNotFoundError: No ask has it.
            InvalidInputError: Several asks have it.
        """
        digits = str(name).replace("-", "").lower()
        if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_END},32}}", digits):
            raise AskNotFoundError(name)
        async with self._database.begin() as session:
            found = await AskRepository(session, caller).find_by_end(digits)
        if not found:
            raise AskNotFoundError(name)
        if len(found) > 1:
            raise InvalidInputError(f"Several asks end in {name}: give more of the id.")
        return found[0]
