"""Rules of plugins: what was found at the start becomes rows that every process can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import PluginNotFoundError
from perron.models.plugin import Plugin
from perron.plugins.registry import Registry
from perron.repositories.plugin import PluginRepository

_COMPARED = ("distribution", "version", "state", "error")  # load_ms differs each time


class PluginService:
    """Plugins; the same for all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, registry: Registry, *, caller: Caller | None = None) -> None:
        """Write down this process's plugins; what is not installed any more is forgotten.

        Writes only what has changed, and is safe in several processes at once.
        """
        caller = caller or Caller.system()
        async with self._database.begin() as session:
            known = {row.name: row for row in await PluginRepository(session, caller).get_sorted()}
        rows = sorted((asdict(plugin) for plugin in registry.plugins), key=lambda row: str(row["name"]))
        changed = [
            row
            for row in rows
            if row["name"] not in known or any(getattr(known[row["name"]], n) != row[n] for n in _COMPARED)
        ]
        gone = sorted(known.keys() - {row["name"] for row in rows})

        if changed or gone:
            await self._database.run(lambda session: PluginRepository(session, caller).replace(changed, gone))

    async def list(self, caller: Caller) -> Sequence[Plugin]:
        """Return all plugins, by name."""
        async with self._database.begin() as session:
            return await PluginRepository(session, caller).get_sorted()

    async def get(self, caller: Caller, name: str) -> Plugin:
        """Return a plugin.

        Raises:
            PluginNotFoundError: No installed one has this name.
        """
        rows = {row.name: row for row in await self.list(caller)}
        if name not in rows:
            raise PluginNotFoundError(name, rows)
        return rows[name]
