"""SQL of plugins."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete

from perron.models.plugin import Plugin
from perron.repositories.registered import RegisteredRepository


class PluginRepository(RegisteredRepository[Plugin]):
    """Plugins as the last start found them."""

    model = Plugin

    async def replace(self, rows: Sequence[dict[str, Any]], gone: Collection[str]) -> None:
        """Insert or replace plugins, and forget those that are not installed any more, by name."""
        await self.put(rows)
        await self.session.execute(delete(Plugin).where(Plugin.name.in_(gone)))
