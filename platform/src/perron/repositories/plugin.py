"""SQL of plugins."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert

from perron.models.plugin import Plugin
from perron.repositories.base import BaseRepository


class PluginRepository(BaseRepository[Plugin]):
    """Plugins as the last start found them; the same for all tenants."""

    model = Plugin

    async def get_sorted(self) -> Sequence[Plugin]:
        """Return all, by name."""
        return (await self.session.execute(self.select().order_by(Plugin.name))).scalars().all()

    async def put(self, rows: Sequence[dict[str, Any]]) -> None:
        """Insert or replace; `rows` hold every column but the times, and come in the order of their names."""
        statement = insert(Plugin)
        columns = {name: statement.excluded[name] for name in (rows[0] if rows else {}) if name != "name"}
        for row in rows:
            await self.session.execute(
                statement.values(row).on_conflict_do_update(
                    index_elements=[Plugin.name], set_={**columns, "updated_at": func.now()}
                )
            )

    async def remove(self, names: Collection[str]) -> None:
        """Forget plugins that are not installed any more."""
        await self.session.execute(delete(Plugin).where(Plugin.name.in_(names)))
