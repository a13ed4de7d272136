"""SQL of settings and their history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from perron.ids import new_id
from perron.models.setting import Setting, SettingChange
from perron.repositories.base import BaseRepository


class SettingRepository(BaseRepository[Setting]):
    """Settings of the caller's tenant, of all scopes: who may change which is the service's rule."""

    model = Setting

    async def get_of_tenant(self) -> Sequence[Setting]:
        """Return all."""
        query = self.select().where(Setting.tenant == self.caller.tenant)
        return (await self.session.execute(query)).scalars().all()

    async def put(self, scope: str, subject: str, key: str, value: Any) -> None:
        """Set a value, and write down what it was before."""
        new = {"value": value, "changed_by": self.caller.principal}
        identity = {"tenant": self.caller.tenant, "scope": scope, "subject": subject, "key": key}
        row: Setting | None = None
        while row is None:  # again when the row that was in the way has just been deleted
            inserted = insert(Setting).values(**identity, **new).on_conflict_do_nothing().returning(Setting.key)
            if (await self.session.execute(inserted)).first() is not None:
                return await self._record(scope, subject, key, old=None, new=value)
            row = await self.find((self.caller.tenant, scope, subject, key), lock=True)
        old = row.value
        await self.update(row, **new)
        return await self._record(scope, subject, key, old=old, new=value)

    async def remove(self, scope: str, subject: str, key: str) -> bool:
        """Forget a value; say whether there was one."""
        row = await self.find((self.caller.tenant, scope, subject, key), lock=True)
        if row is None:
            return False
        await self._record(scope, subject, key, old=row.value, new=None)
        await self.session.delete(row)
        return True

    async def get_history(
        self, scope: str, subject: str, key: str, *, limit: int = 100
    ) -> Sequence[SettingChange]:
        """Return the changes of a setting, newest first."""
        query = (
            select(SettingChange)
            .where(
                SettingChange.tenant == self.caller.tenant,
                SettingChange.scope == scope,
                SettingChange.subject == subject,
                SettingChange.key == key,
            )
            .order_by(SettingChange.created_at.desc(), SettingChange.change_id.desc())
            .limit(limit)
        )
        return (await self.session.execute(query)).scalars().all()

    async def _record(self, scope: str, subject: str, key: str, *, old: Any, new: Any) -> None:
        change = SettingChange(
            change_id=new_id(),
            tenant=self.caller.tenant,
            scope=scope,
            subject=subject,
            key=key,
            changed_by=self.caller.principal,
        )
        # A column that is left out is SQL's NULL; None would become JSON's null.
        if old is not None:
            change.old_value = old
        if new is not None:
            change.new_value = new
        self.session.add(change)
        await self.session.flush()
