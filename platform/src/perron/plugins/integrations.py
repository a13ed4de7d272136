"""Integrations as plugins bring them, each key once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from perron.errors import PluginError
from perron.plugins.registry import PluginState, Registry

Answers = Sequence[tuple[PluginState, Any]]


def collect_integrations(registry: Registry, answers: Answers) -> None:
    """Put the answers of `perron_integrations` into the registry.

    Two plugins with the same key both fail: which of the two an agent meant to call, nobody can know.
    """
    brought: dict[str, list[PluginState]] = defaultdict(list)
    for plugin, answer in answers:
        try:
            classes = _checked(answer)
        except PluginError as exc:
            registry.fail([plugin], exc.message)
            continue
        for key, integration in classes.items():
            brought[key].append(plugin)
            registry.integrations[key] = integration
            registry.integration_sources[key] = plugin
    for key, plugins in brought.items():
        if len(plugins) > 1:
            registry.fail(plugins, clash("integration", key, [plugin.distribution for plugin in plugins]))
            registry.integrations.pop(key, None)


def clash(kind: str, name: str, sources: Sequence[str | None]) -> str:
    """Return the sentence about several sources of one name."""
    who = " and ".join(sorted(source or "an unnamed distribution" for source in sources))
    return f"The {kind} {name!r} is brought by {who}: uninstall one, or name it in PERRON_PLUGINS_DENY."


def _checked(answer: Any) -> dict[str, type]:
    if not isinstance(answer, (list, tuple, set, frozenset)):
        raise PluginError(f"Its perron_integrations returned {answer!r}, not a list of Integration classes.")
    classes: dict[str, type] = {}
    for integration in answer:
        key = getattr(integration, "key", None)
        if not isinstance(integration, type) or not isinstance(key, str):
            raise PluginError(f"Its perron_integrations returned {integration!r}, which is no Integration class.")
        if classes.setdefault(key, integration) is not integration:
            raise PluginError(f"Its perron_integrations returned two integrations with the key {key!r}.")
    return classes
