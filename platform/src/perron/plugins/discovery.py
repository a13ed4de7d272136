"""Which installed entry points there are, and which of them the operator lets in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from perron.configuration import PlatformSettings, names_in
from perron.errors import ConfigurationError, nearest

PLUGINS = "perron.plugins"
AGENTS = "perron.agents"


@dataclass(frozen=True, slots=True)
class Found:
    """An entry point of an installed distribution."""

    name: str
    """Unique in its group: the entry point's, with its distribution's before it where two use the same."""
    distribution: str | None
    version: str | None
    entry_point: EntryPoint

    @property
    def names(self) -> set[str]:
        """What operators may call it."""
        return {_plain(name) for name in (self.name, self.entry_point.name, self.distribution) if name}


def find(group: str) -> list[Found]:
    """Return the entry points of a group, by distribution and name, without importing anything."""
    points = sorted(entry_points(group=group), key=lambda point: (_distribution(point) or "", point.name))
    uses = Counter(point.name for point in points)
    return [
        Found(
            name=point.name if uses[point.name] == 1 else f"{_distribution(point)}:{point.name}",
            distribution=_distribution(point),
            version=point.dist.version if point.dist else None,
            entry_point=point,
        )
        for point in points
    ]


@dataclass(frozen=True, slots=True)
class Selection:
    """What `PERRON_PLUGINS` and `PERRON_PLUGINS_DENY` say."""

    allowed: frozenset[str] | None
    """None: all."""
    denied: frozenset[str]

    @classmethod
    def read(cls, settings: PlatformSettings, plugins: Sequence[Found], agents: Sequence[Found]) -> Selection:
        """Read the two settings.

        Raises:
            ConfigurationError: One of them names what is not installed.
        """
        _refuse_unknown("PERRON_PLUGINS", names := names_in(settings.plugins), plugins, extra="none")
        _refuse_unknown("PERRON_PLUGINS_DENY", denied := names_in(settings.plugins_deny), [*plugins, *agents])
        allowed = {_plain(name) for name in names} - {"none"}
        return cls(frozenset(allowed) if names else None, frozenset(_plain(name) for name in denied))

    def why_not(self, found: Found, *, is_plugin: bool) -> str | None:
        """Return why the operator keeps an entry point out, or None.

        An agent's own entry point is kept out by `PERRON_PLUGINS_DENY` alone: `PERRON_PLUGINS` lists plugins.
        """
        if found.names & self.denied:
            return "PERRON_PLUGINS_DENY names it."
        if is_plugin and self.allowed is not None and not found.names & self.allowed:
            return "PERRON_PLUGINS does not name it."
        return None


def _refuse_unknown(variable: str, names: Iterable[str], installed: Sequence[Found], *, extra: str = "") -> None:
    known = {name for found in installed for name in found.names} | ({extra} if extra else set())
    for name in names:
        if _plain(name) not in known:
            there = ", ".join(sorted(found.name for found in installed)) or "none"
            raise ConfigurationError(
                f"{variable} names {name!r}, which is no installed plugin.{nearest(_plain(name), known)} "
                f"Installed: {there}.",
                variable=variable,
                name=name,
            )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution(point: EntryPoint) -> str | None:
    return point.dist.name if point.dist else None
