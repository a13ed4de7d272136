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

    async def replace(self, rows: Sequence[dict[str, Any]], gone: Collection[str]) -> None:
        """Insert or replace plugins, and forget those that are not installed any more.

        Args:
            rows: Every column but the times, in the order of the names.
            gone: Names.
        """
        statement = insert(Plugin)
        for row in rows:
            columns = {name: statement.excluded[name] for name in row if name != "name"}
            await self.session.execute(
                statement.values(row).on_conflict_do_update(
                    index_elements=[Plugin.name], set_={**columns, "updated_at": func.now()}
                )
            )
        await self.session.execute(delete(Plugin).where(Plugin.name.in_(gone)))
