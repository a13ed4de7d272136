"""What all repositories share: rows of one table, for one caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.interfaces import ORMOption

from perron.caller import Caller
from perron.errors import NotFoundError
from perron.models.base import Base, Owned

T = TypeVar("T", bound=Base)

DATABASE_NOW: ColumnElement[Any] = func.clock_timestamp()
"""The database's clock, at the moment of the statement."""


def older_than(age: timedelta) -> ColumnElement[Any]:
    """Return the moment that lies so long ago by the database's clock."""
    return func.clock_timestamp() - age


Key = UUID | str | tuple[UUID | str | int, ...]


class BaseRepository(Generic[T]):
    """SQL for one table. Takes a session, never commits.

    Tenant and owner of the caller stand in every query of a table that has them: a thing of somebody else is a
    thing that is not there. An admin sees every owner of its tenant.
    """

    model: ClassVar[type[Base]]
    not_found: ClassVar[type[NotFoundError]] = NotFoundError

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self.session = session
        self.caller = caller

    def visible(self) -> list[ColumnElement[bool]]:
        """Return the conditions under which the caller may see a row."""
        if not issubclass(self.model, Owned):
            return []
        conditions = [self._column("tenant") == self.caller.tenant]
        if not self.caller.is_admin:
            conditions.append(self._column("owner") == self.caller.principal)
        return conditions

    def select(self, *options: ORMOption) -> Select[T]:
        """Start a query over the rows that the caller may see."""
        model = cast("type[T]", self.model)
        return select(model).where(*self.visible()).options(*options)

    async def find(self, key: Key, *options: ORMOption, lock: bool = False) -> T | None:
        """Return the row, or None. `lock` takes it FOR NO KEY UPDATE, which lets foreign keys refer to it."""
        query = self.select(*options).where(*self._by_key(key))
        if lock:
            query = query.with_for_update(key_share=True)
        return (await self.session.execute(query)).scalar_one_or_none()

    async def get(self, key: Key, *options: ORMOption, lock: bool = False) -> T:
        """Return the row.

        Raises:
            NotFoundError: The repository's own, when there is none for this caller.
        """
        row = await self.find(key, *options, lock=lock)
        if row is None:
            raise type(self).not_found(str(key))
        return row

    async def find_any(self, key: Key, *, lock: bool = False) -> T | None:
        """Return the row whoever's it is, or None: for the runtime, which acts for all tenants."""
        model = cast("type[T]", self.model)
        query = select(model).where(*self._by_key(key))
        if lock:
            query = query.with_for_update(key_share=True)
        return (await self.session.execute(query)).scalar_one_or_none()

    async def get_all(self, limit: int = 100, *, offset: int = 0, query: Select[T] | None = None) -> Sequence[T]:
        """Return a page, newest first where the table knows."""
        query = self._newest_first(self.select()) if query is None else query
        return (await self.session.execute(query.limit(limit).offset(offset))).scalars().all()

    async def count(self, *conditions: ColumnElement[bool]) -> int:
        """Count the rows that the caller may see."""
        query = select(func.count()).select_from(self.model).where(*self.visible(), *conditions)
        return (await self.session.execute(query)).scalar_one()

    async def create(self, row: T) -> T:
        """Insert; an owned row without tenant or owner becomes the caller's."""
        if isinstance(row, Owned):
            row.tenant = row.tenant or self.caller.tenant
            row.owner = row.owner or self.caller.principal
        self.session.add(row)
        await self.session.flush()
        return row

    async def update(self, row: T, **values: Any) -> T:
        """Set columns of a row that was loaded here."""
        for name, value in values.items():
            setattr(row, name, value)
        await self.session.flush()
        return row

    async def delete(self, key: Key) -> bool:
        """Delete the row if the caller may see it; say whether there was one."""
        statement = delete(self.model).where(*self.visible(), *self._by_key(key))
        result = await self.session.execute(statement.returning(*self.model.__mapper__.primary_key))
        return result.first() is not None

    async def delete_some(self, *conditions: ColumnElement[bool], limit: int) -> Sequence[Any]:
        """Delete up to `limit` rows, whoever's they are, but for those that another transaction holds.

        Returns:
            Their keys.
        """
        key = self.model.__mapper__.primary_key[0]
        picked = select(key).where(*conditions).limit(limit)
        # Read once: a subquery may be read again for each row, and take more than the limit.
        doomed = picked.with_for_update(skip_locked=True, of=self.model).cte("doomed")
        statement = delete(self.model).where(key.in_(select(doomed.c[key.name]))).returning(key)
        return (await self.session.execute(statement.execution_options(synchronize_session=False))).scalars().all()

    async def stream(self, query: Select[T] | None = None, *, batch: int = 500) -> AsyncIterator[T]:
        """Yield rows through a server-side cursor, `batch` at a time, and forget each after its use.

        The transaction lasts as long as the reader takes.
        """
        query = self._newest_first(self.select()) if query is None else query
        await self.session.execute(text("SET LOCAL transaction_timeout = 0"))
        rows = await self.session.stream_scalars(query.execution_options(yield_per=batch))
        async for row in rows:
            yield row
            self.session.expunge(row)

    def _column(self, name: str) -> ColumnElement[Any]:
        return self.model.__table__.c[name]

    def _by_key(self, key: Key) -> list[ColumnElement[bool]]:
        values = key if isinstance(key, tuple) else (key,)
        return [column == value for column, value in zip(self.model.__mapper__.primary_key, values, strict=True)]

    def _newest_first(self, query: Select[T]) -> Select[T]:
        key = self.model.__mapper__.primary_key
        if "created_at" not in self.model.__table__.c:
            return query.order_by(*key)
        # Ids are ordered by time too: they tell apart what one transaction has made.
        return query.order_by(self._column("created_at").desc(), *[column.desc() for column in key])


def columns_of(row: Base) -> dict[str, Any]:
    """Return what is set on a row that no session knows, by column name."""
    attributes = type(row).__mapper__.column_attrs
    return {a.columns[0].name: row.__dict__[a.key] for a in attributes if a.key in row.__dict__}
