"""Rules of settings that change while the platform runs: who may set what, and which value counts."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from perron.caller import Caller
from perron.configuration import BEFORE_DATABASE, KEY_MATERIAL, PlatformSettings, read_toml
from perron.database.engine import Database
from perron.errors import ConfigurationError, PermissionDeniedError
from perron.models.setting import SettingChange
from perron.plugins.registry import Registry
from perron.repositories.setting import SettingRepository
from perron.services.setting_field import Scope, SettingCatalogue, SettingField
from perron.services.setting_source import check_sources, variable
from perron.services.setting_value import SettingValues, Stored, place

Frozen = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SettingView:
    """A setting with the value that counts and where it comes from."""

    name: str
    value: Any
    source: str
    """user | agent | integration | platform | argument | environment | toml | default | unset (required)"""
    default: Any
    description: str
    is_users: bool
    """Whether users may set it for themselves."""


@dataclass(slots=True)
class _Snapshot:
    """What the database says, as it was read."""

    stored: Stored
    read_at_s: float
    frozen: dict[tuple[str, str], Frozen] = field(default_factory=dict)
    """By principal and agent."""


class SettingService:
    """Settings of callers; `SettingValues` says which value counts."""

    def __init__(self, database: Database, settings: PlatformSettings, registry: Registry) -> None:
        """Read environment and TOML.

        Raises:
            ConfigurationError: `perron.toml` names an agent, an integration or a field that nobody has.
        """
        self._database = database
        self._settings = settings
        self._registry = registry
        self._catalogue = SettingCatalogue(registry)
        toml = read_toml()
        self._values = SettingValues(self._catalogue, settings, toml)
        self._snapshots: dict[str, _Snapshot] = {}
        self._reading = asyncio.Lock()
        # With a plugin that failed, nobody knows which integrations there would be.
        is_whole = all(plugin.state == "loaded" for plugin in registry.plugins)
        subjects: dict[Scope, Any] = {"agent": registry.agents}
        check_sources(
            self._catalogue,
            toml,
            {**subjects, "integration": registry.integrations} if is_whole else subjects,
        )

    async def frozen(self, caller: Caller, graph_id: str) -> Frozen:
        """Return the values for a run: `agent`, and each integration that the agent may use, by key.

        Changes by other processes count after `poll_s` at the latest.

        Raises:
            ConfigurationError: A value does not fit, or an agent's setting without a default is not set.
        """
        snapshot = await self._read(caller)
        known = snapshot.frozen.get((caller.principal, graph_id))
        if known is None:
            known = {"agent": self._values.frozen("agent", graph_id, caller, snapshot.stored)}
            for key in self._usable(graph_id):
                known[key] = self._values.frozen("integration", key, caller, snapshot.stored)
            snapshot.frozen[caller.principal, graph_id] = known
        return copy.deepcopy(known)

    async def of_integration(self, caller: Caller, key: str) -> dict[str, Any]:
        """Return an integration's values for a use outside runs, such as checking a connection.

        Raises:
            ConfigurationError: A value does not fit.
        """
        snapshot = await self._read(caller, fresh=True)
        return self._values.frozen("integration", key, caller, snapshot.stored)

    async def platform(self, caller: Caller) -> PlatformSettings:
        """Return the platform's settings with what the database says above them."""
        snapshot = await self._read(caller)
        stored = snapshot.stored.get(("platform", ""), {})
        found = {f.key: self._values.get(f, caller, snapshot.stored) for f in self._catalogue.of("platform", "")}
        return self._settings.model_copy(update={key: found[key][0] for key in stored if key in found})

    async def list(self, caller: Caller) -> Sequence[SettingView]:
        """Return all settings, the platform's first."""
        snapshot = await self._read(caller, fresh=True)
        return [self._view(f, caller, snapshot) for f in self._catalogue]

    async def get(self, caller: Caller, name: str) -> SettingView:
        """Return one setting.

        Raises:
            UnknownNameError: Nothing declares it.
        """
        return self._view(self._catalogue.get(name), caller, await self._read(caller, fresh=True))

    async def set(self, caller: Caller, name: str, value: Any, *, for_user: bool = False) -> SettingView:
        """Set a value, for everybody or `for_user`: the caller alone. Text is read as the field's type.

        Raises:
            UnknownNameError: Nothing declares it.
            PermissionDeniedError: Only admins may, or it is no setting of users.
            ConfigurationError: The database cannot hold it, or the value does not fit.
        """
        setting = self._changeable(caller, name, for_user=for_user)
        snapshot = await self._read(caller, fresh=True)
        fields = self._catalogue.of(setting.scope, setting.subject)
        found = {f.key: self._values.get(f, caller, snapshot.stored) for f in fields}
        others = {key: value for key, (value, source) in found.items() if source != "unset"}
        stored = setting.check(setting.read(value) if isinstance(value, str) else value, others)
        async with self._database.begin() as session:
            await SettingRepository(session, caller).put(*place(setting, caller, for_user=for_user), stored)
        self._snapshots.clear()
        return await self.get(caller, name)

    async def unset(self, caller: Caller, name: str, *, for_user: bool = False) -> bool:
        """Take back what was set, so that the next source counts; say whether there was anything.

        Raises:
            UnknownNameError: Nothing declares it.
            PermissionDeniedError: Only admins may, or it is no setting of users.
            ConfigurationError: The database cannot hold it.
        """
        setting = self._changeable(caller, name, for_user=for_user)
        async with self._database.begin() as session:
            was_set = await SettingRepository(session, caller).remove(*place(setting, caller, for_user=for_user))
        self._snapshots.clear()
        return was_set

    async def history(self, caller: Caller, name: str, *, for_user: bool = False) -> Sequence[SettingChange]:
        """Return the changes of a setting in the database, newest first."""
        setting = self._catalogue.get(name)
        async with self._database.begin() as session:
            return await SettingRepository(session, caller).get_history(*place(setting, caller, for_user=for_user))

    def _changeable(self, caller: Caller, name: str, *, for_user: bool) -> SettingField:
        setting = self._catalogue.get(name)
        if setting.scope == "platform" and setting.key in BEFORE_DATABASE:
            raise ConfigurationError(
                f"The setting {name} is needed before the database is open, which therefore cannot hold it: "
                f"set {variable(setting)} or write it into perron.toml."
            )
        if setting.scope == "platform" and setting.key in KEY_MATERIAL:
            raise ConfigurationError(
                f"The setting {name} is a key, which the database does not hold: set {variable(setting)}."
            )
        if for_user and not setting.is_users:
            raise PermissionDeniedError(f"The setting {name} is not one that users may set for themselves.")
        if not for_user and not caller.is_admin:
            raise PermissionDeniedError(f"Only admins may change the setting {name} for everybody.")
        return setting

    def _usable(self, graph_id: str) -> Sequence[str]:
        """Return the keys of the integrations that an agent may use."""
        registered = self._registry.agents.get(graph_id)
        grants = registered.agent.grants if registered and registered.agent else None
        if grants is None:
            return list(self._registry.integrations)
        return [key for key in self._registry.integrations if any(g.startswith(f"{key}.") for g in grants)]

    def _view(self, setting: SettingField, caller: Caller, snapshot: _Snapshot) -> SettingView:
        value, source = self._values.get(setting, caller, snapshot.stored)
        return SettingView(
            setting.name,
            setting.shown(value),
            source,
            setting.shown(setting.default),
            setting.info.description or "",
            is_users=setting.is_users,
        )

    async def _read(self, caller: Caller, *, fresh: bool = False) -> _Snapshot:
        asked_at_s = time.monotonic()
        oldest_s = asked_at_s if fresh else asked_at_s - self._settings.poll_s
        snapshot = self._snapshots.get(caller.tenant)
        if snapshot is not None and snapshot.read_at_s >= oldest_s:
            return snapshot
        async with self._reading:  # all who find it too old wait for one of them
            snapshot = self._snapshots.get(caller.tenant)
            if snapshot is None or snapshot.read_at_s < oldest_s:
                snapshot = self._snapshots[caller.tenant] = await self._load(caller)
        return snapshot

    async def _load(self, caller: Caller) -> _Snapshot:
        read_at_s = time.monotonic()
        async with self._database.begin() as session:
            rows = await SettingRepository(session, caller).get_of_tenant()
        stored: dict[tuple[str, str], dict[str, Any]] = {}
        for row in rows:
            stored.setdefault((row.scope, row.subject), {})[row.key] = row.value
        return _Snapshot(stored, read_at_s)
