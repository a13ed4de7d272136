"""Agents of all sources: the caller's own, hooks, entry points, langgraph.json; each name once."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from perron.configuration import PlatformSettings
from perron.errors import DefinitionError, PluginError
from perron.plugins.agent import Agent
from perron.plugins.discovery import AGENTS, PLUGINS, Found, Selection, find
from perron.plugins.explain import explain
from perron.plugins.integrations import Answers, clash
from perron.plugins.langgraph_json import find_langgraph_json, read_langgraph_json
from perron.plugins.registry import RegisteredAgent, Registry
from perron.plugins.target import as_agent
from perron.plugins.timelimit import run_limited

_log = logging.getLogger(__name__)


def collect_agents(
    registry: Registry, settings: PlatformSettings, *, given: Sequence[Agent], hooked: Answers
) -> None:
    """Put the agents of all sources into the registry.

    Args:
        given: The caller's own: they stand above found ones of the same name.
        hooked: The answers of `perron_agents`.

    Raises:
        ConfigurationError: A langgraph.json cannot be read.
        DefinitionError: Two of the caller's own have the same name.
    """
    own = _unique(given)
    found = [*_from_hooks(registry, hooked), *_from_entry_points(settings)]
    if path := find_langgraph_json(settings.langgraph_json):
        found += read_langgraph_json(path, timeout_s=settings.plugin_timeout_s)
    by_name: dict[str, list[RegisteredAgent]] = defaultdict(list)
    for candidate in found:
        by_name[candidate.name].append(candidate)
    for name, candidates in by_name.items():
        # What the operator denied claims nothing: denying is how a clash is ended.
        claims = [candidate for candidate in candidates if candidate.state != "denied"] or candidates[:1]
        registry.agents[name] = claims[0] if len(claims) == 1 else _refused(name, claims)
    for name, candidates in by_name.items():
        if registry.agents[name] not in candidates:
            plugins = [candidate.plugin for candidate in candidates if candidate.plugin]
            registry.fail(plugins, registry.agents[name].error or "")
    registry.agents |= {agent.name: RegisteredAgent(agent.name, agent) for agent in own}


def _refused(name: str, claims: list[RegisteredAgent]) -> RegisteredAgent:
    """Several bring an agent of this name: none of them is loaded."""
    error = clash("agent", name, [claim.distribution or claim.entry_point for claim in claims])
    return RegisteredAgent(name, None, state="failed", error=error)


def _from_hooks(registry: Registry, answers: Answers) -> list[RegisteredAgent]:
    agents: list[RegisteredAgent] = []
    for plugin, answer in answers:
        try:
            brought = _checked(answer)
        except PluginError as exc:
            registry.fail([plugin], exc.message)
            continue
        for agent in brought:
            agents.append(RegisteredAgent(agent.name, agent, plugin.distribution, plugin.version, plugin=plugin))
    return agents


def _checked(answer: Any) -> list[Agent]:
    if not isinstance(answer, (list, tuple)) or not all(isinstance(agent, Agent) for agent in answer):
        raise PluginError(f"Its perron_agents returned {answer!r}, not a list of Agents.")
    try:
        return _unique(answer)
    except DefinitionError as exc:
        raise PluginError(f"Its perron_agents returned what does not fit: {exc.message}") from exc


def _unique(agents: Sequence[Agent]) -> list[Agent]:
    by_name: dict[str, Agent] = {}
    for agent in agents:
        if by_name.setdefault(agent.name, agent) is not agent:
            raise DefinitionError(f"Two agents are called {agent.name!r}: give one of them another name.")
    return list(by_name.values())


def _from_entry_points(settings: PlatformSettings) -> list[RegisteredAgent]:
    found = find(AGENTS)
    selection = Selection.read(settings, find(PLUGINS), found)
    return [_load(candidate, selection, settings.plugin_timeout_s) for candidate in found]


def _load(found: Found, selection: Selection, timeout_s: float) -> RegisteredAgent:
    point = found.entry_point
    registered = RegisteredAgent(point.name, None, found.distribution, found.version, point.value)
    if reason := selection.why_not(found, is_plugin=False):
        registered.state, registered.error = "denied", reason
        return registered
    try:
        registered.agent = as_agent(point.name, run_limited(point.load, timeout_s, what="importing"))
        registered.name = registered.agent.name
    except Exception as exc:  # noqa: BLE001  # the door to foreign code
        _log.debug("agent %s could not be loaded", found.name, exc_info=exc)
        registered.state, registered.error = "failed", f"{point.value} cannot be loaded: {explain(exc)}"
    return registered
