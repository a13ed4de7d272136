"""Real distributions in a directory of the test's own, and a process that loads what is installed there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

_LOAD = """
import asyncio, json, sys
from dataclasses import asdict
from perron.errors import PerronError
from perron.plugins.loader import load_plugins
from perron.configuration import load_settings

def agent(found):
    names = ("name", "distribution", "version", "entry_point", "state", "error")
    return {name: getattr(found, name) for name in names}

try:
    registry = asyncio.run(load_plugins(load_settings()))
except PerronError as error:
    print(json.dumps({"error": error.message}))
else:
    plugins = {p.name: asdict(p) for p in registry.plugins}
    agents = {name: agent(found) for name, found in registry.agents.items()}
    print(json.dumps({"plugins": plugins, "agents": agents, "integrations": sorted(registry.integrations)}))
"""


class Site:
    """A directory of installed distributions."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "site"
        self.empty = directory / "empty"
        self.empty.mkdir(parents=True)

    def install(
        self,
        distribution: str,
        *,
        files: Mapping[str, str],
        plugins: str = "",
        agents: str = "",
        version: str = "1.0",
    ) -> None:
        """Put a distribution here, as pip would: its modules, and its metadata with entry points."""
        info = self.directory / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        groups = {"perron.plugins": plugins, "perron.agents": agents}
        text = "".join(f"[{group}]\n{dedent(points).strip()}\n" for group, points in groups.items() if points)
        (info / "entry_points.txt").write_text(text)
        for name, source in files.items():
            (self.directory / name).write_text(dedent(source))

    def load(self, *, cwd: Path | None = None, **environment: str) -> Any:
        """Load what is installed here, and nothing else, in a process of its own."""
        denied = [*_installed_beside(), *filter(None, [environment.pop("PERRON_PLUGINS_DENY", "")])]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PERRON_")}
        paths = {"PYTHONPATH": str(self.directory), "PERRON_PLUGINS_DENY": ",".join(denied)}
        done = subprocess.run(
            [sys.executable, "-c", _LOAD],
            env={**kept, **paths, **environment},
            cwd=cwd or self.empty,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def _installed_beside() -> list[str]:
    """Return the distributions of the environment that bring plugins or agents."""
    points = [point for group in ("perron.plugins", "perron.agents") for point in entry_points(group=group)]
    return sorted({point.dist.name for point in points if point.dist})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A place for distributions, of this test alone."""
    return Site(tmp_path)


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A place for distributions that the tests of a module load once."""
    return Site(tmp_path_factory.mktemp("shared"))
