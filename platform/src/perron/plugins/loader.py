"""The loader: imports plugins one by one, keeps failures as state, and collects what they bring.

pluggy's own loader imports all entry points in one go: the first that raises takes the others with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

import pluggy

from perron.configuration import PlatformSettings
from perron.errors import PluginError, nearest
from perron.plugins import hooks
from perron.plugins.agent import Agent
from perron.plugins.agents import collect_agents
from perron.plugins.calling import call_each
from perron.plugins.discovery import AGENTS, PLUGINS, Found, Selection, find
from perron.plugins.explain import explain
from perron.plugins.integrations import collect_integrations
from perron.plugins.registry import PluginState, Registry
from perron.plugins.timelimit import run_limited

_log = logging.getLogger(__name__)


async def load_plugins(
    settings: PlatformSettings,
    *,
    agents: Sequence[Agent] = (),
    builtin: Mapping[str, object] | None = None,
) -> Registry:
    """Import all plugins, ask them for what they bring, and find the agents of all sources.

    Args:
        agents: Agents of the caller's own: they stand above found ones of the same name.
        builtin: What the platform itself offers through the hooks, by plugin name.

    Raises:
        ConfigurationError: PERRON_PLUGINS or PERRON_PLUGINS_DENY names what is not installed, or a langgraph.json
            cannot be read. What is wrong with a single plugin or agent is its state in the registry, no error.
    """
    registry = await asyncio.to_thread(import_plugins, settings, builtin=builtin)
    collect_integrations(registry, await call_each(registry, "perron_integrations"))
    hooked = await call_each(registry, "perron_agents")
    await asyncio.to_thread(collect_agents, registry, settings, given=agents, hooked=hooked)
    return registry


def import_plugins(settings: PlatformSettings, *, builtin: Mapping[str, object] | None = None) -> Registry:
    """Import and register all plugins, without calling a hook.

    Raises:
        ConfigurationError: PERRON_PLUGINS or PERRON_PLUGINS_DENY names what is not installed.
    """
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    registry = Registry(manager, timeout_s=settings.plugin_timeout_s)
    for name, plugin in (builtin or {}).items():
        registry.plugins.append(PluginState(name, distribution="perron", version=None))
        _register(manager, plugin, name)
    found = find(PLUGINS)
    selection = Selection.read(settings, found, find(AGENTS))
    for candidate in found:
        registry.plugins.append(_load(manager, candidate, selection, settings.plugin_timeout_s))
    return registry


def _load(manager: pluggy.PluginManager, found: Found, selection: Selection, timeout_s: float) -> PluginState:
    state = PluginState(found.name, found.distribution, found.version)
    if reason := selection.why_not(found, is_plugin=True):
        state.state, state.error = "denied", reason
        return state
    started = time.monotonic()
    try:
        _register(manager, run_limited(found.entry_point.load, timeout_s, what="importing"), found.name)
    except Exception as exc:  # noqa: BLE001  # the door to foreign code
        _log.debug("plugin %s could not be loaded", found.name, exc_info=exc)
        state.state, state.error = "failed", f"{found.entry_point.value} cannot be loaded: {explain(exc)}"
    state.load_ms = round((time.monotonic() - started) * 1000)
    return state


def _register(manager: pluggy.PluginManager, plugin: object, name: str) -> None:
    """Register a plugin whole, or not at all.

    Raises:
        PluginError: It has no hook, one that does not exist, or one with other arguments.
    """
    try:
        manager.register(plugin, name)
        _check(manager, plugin)
    except Exception as exc:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        if isinstance(exc, pluggy.PluginValidationError):
            raise PluginError(" ".join(str(exc).split())) from exc
        raise


def _check(manager: pluggy.PluginManager, plugin: object) -> None:
    """What `PluginManager.check_pending` checks for all plugins at once, for one of them."""
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise PluginError("it implements no hook: decorate its hook functions with `@hookimpl` of perron")
    known = [name for name in vars(hooks) if name.startswith("perron_")]
    for caller in callers:
        if not caller.has_spec():
            raise PluginError(f"it implements {caller.name}, which is no hook.{nearest(caller.name, known)}")
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin and (implementation.wrapper or implementation.hookwrapper):
                raise PluginError(
                    f"its {caller.name} is a wrapper; each plugin is called alone, with nothing to wrap"
                )
