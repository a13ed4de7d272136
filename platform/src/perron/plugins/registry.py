"""`Registry`: what was found at the start, loaded or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import pluggy

from perron.errors import AgentError, AgentNotFoundError, PluginNotFoundError
from perron.plugins.agent import Agent

State = Literal["loaded", "failed", "denied"]


@dataclass(slots=True)
class PluginState:
    """An entry point of the group `perron.plugins`, or a part of the platform that registers like one."""

    name: str
    """The entry point's; `<distribution>:<entry point>` where two distributions use the same."""
    distribution: str | None
    version: str | None
    state: State = "loaded"
    error: str | None = None
    """One sentence: why it is not loaded."""
    load_ms: int | None = None
    """How long its import took; None if it was not tried."""


@dataclass(slots=True)
class RegisteredAgent:
    """An agent and where it came from."""

    name: str
    agent: Agent | None
    """None unless `state` is loaded."""
    distribution: str | None = None
    version: str | None = None
    entry_point: str = ""
    """`pkg.mod:attr`, or `path.py:attr` of a langgraph.json; empty where the opener of the platform gave it."""
    state: State = "loaded"
    error: str | None = None
    plugin: PluginState | None = None
    """Whose hook gave it, if one did."""


@dataclass(slots=True)
class Registry:
    """Plugins, agents and integrations of this process."""

    manager: pluggy.PluginManager
    timeout_s: float
    """The longest that one hook of one plugin may take."""
    plugins: list[PluginState] = field(default_factory=list)
    agents: dict[str, RegisteredAgent] = field(default_factory=dict)
    integrations: dict[str, type] = field(default_factory=dict)
    """By key: the Integration classes of all loaded plugins."""
    integration_sources: dict[str, PluginState] = field(default_factory=dict)
    """By key: the plugin that brought the integration."""

    def get_agent(self, name: str) -> Agent:
        """Return an agent that can run.

        Raises:
            AgentNotFoundError: Nobody brought one of this name.
            AgentError: It was found, and is not loaded; the message says why.
        """
        registered = self.agents.get(name)
        if registered is None:
            raise AgentNotFoundError(name, self.agents)
        if registered.agent is None:
            raise AgentError(f"The agent {name!r} is not loaded: {registered.error}", agent=name)
        return registered.agent

    def get_plugin(self, name: str) -> PluginState:
        """Return a plugin by its name.

        Raises:
            PluginNotFoundError: No entry point has this name.
        """
        for plugin in self.plugins:
            if plugin.name == name:
                return plugin
        raise PluginNotFoundError(name, [plugin.name for plugin in self.plugins])

    def fail(self, plugins: Sequence[PluginState], error: str) -> None:
        """Take plugins out: no hook of theirs fires again, and what they brought goes with them.

        Args:
            error: One sentence for people, the same for all of them.
        """
        for plugin in plugins:
            plugin.state, plugin.error = "failed", error
            if self.manager.has_plugin(plugin.name):
                self.manager.unregister(name=plugin.name)
            for key in [key for key, source in self.integration_sources.items() if source is plugin]:
                del self.integrations[key], self.integration_sources[key]
        for agent in self.agents.values():
            if agent.plugin in plugins:
                agent.agent, agent.state, agent.error = None, "failed", error
