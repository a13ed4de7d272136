"""Plugins, agents and integrations: what was found, and what does not load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from perron.cli.checks.finding import Finding
from perron.models.agent import Agent
from perron.plugins.registry import Registry


def check_plugins(registry: Registry) -> Iterator[Finding]:
    """Yield which plugins failed, and why."""
    for plugin in registry.plugins:
        if plugin.state == "failed":
            advice = "Mend or uninstall it, or name it in PERRON_PLUGINS_DENY."
            yield Finding("plugins", "broken", f"The plugin {plugin.name} failed: {plugin.error}", advice)
        elif plugin.state == "denied":
            yield Finding("plugins", "note", f"The plugin {plugin.name} is left out: {plugin.error}")
    loaded = [plugin.name for plugin in registry.plugins if plugin.state == "loaded"]
    yield Finding("plugins", "ok", f"Loaded: {', '.join(loaded)}." if loaded else "No plugin is installed.")


def check_agents(agents: Iterable[Agent]) -> Iterator[Finding]:
    """Yield which agents cannot run, and why."""
    states: dict[str, list[str]] = {}
    for agent in agents:
        states.setdefault(agent.state, []).append(agent.graph_id)
        if agent.state == "failed":
            text = f"The agent {agent.graph_id} cannot run: {agent.error}"
            yield Finding("agents", "broken", text, f"See `perron agents show {agent.graph_id}`.")
    if missing := states.get("missing"):
        text = f"Known from before and not installed any more: {', '.join(missing)}."
        yield Finding("agents", "note", text, "Their threads cannot go on until they are installed again.")
    if loaded := states.get("loaded"):
        yield Finding("agents", "ok", f"Ready to run: {', '.join(loaded)}.")
    else:
        text = "There is no agent to run."
        yield Finding(
            "agents", "warning", text, "Install one, or write a langgraph.json and name it with --config."
        )
