"""What agents and plugins share: rows by name that each start writes anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert

from perron.models.base import Base
from perron.repositories.base import BaseRepository

T = TypeVar("T", bound=Base)


class RegisteredRepository(BaseRepository[T]):
    """Rows as the last start found them; the same for all tenants."""

    async def get_sorted(self) -> Sequence[T]:
        """Return all, by name."""
        query = self.select().order_by(*self.model.__mapper__.primary_key)
        return (await self.session.execute(query)).scalars().all()

    async def put(self, rows: Sequence[dict[str, Any]]) -> None:
        """Insert rows, or replace those of the same name.

        Args:
            rows: Every column but the times, in the order of the names.
        """
        statement = insert(self.model)
        (name,) = self.model.__mapper__.primary_key
        for row in rows:
            columns = {column: statement.excluded[column] for column in row if column != name.name}
            await self.session.execute(
                statement.values(row).on_conflict_do_update(
                    index_elements=[name], set_={**columns, "updated_at": func.now()}
                )
            )
