"""An existing `langgraph.json`: its graphs are agents here."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from perron.errors import AgentError, ConfigurationError
from perron.plugins.explain import explain
from perron.plugins.graph_file import import_attribute
from perron.plugins.registry import RegisteredAgent
from perron.plugins.target import as_agent
from perron.plugins.timelimit import run_limited

FILE = "langgraph.json"

_log = logging.getLogger(__name__)


def find_langgraph_json(named: Path | None) -> Path | None:
    """Return the file that the setting `langgraph_json` names, else the one of the working directory, else None.

    Raises:
        ConfigurationError: The named one does not exist.
    """
    if named is None:
        return path if (path := Path.cwd() / FILE).is_file() else None
    if not named.is_file():
        raise ConfigurationError(f"The setting langgraph_json names {named}, which does not exist.")
    return named.resolve()


def read_langgraph_json(path: Path, *, timeout_s: float) -> list[RegisteredAgent]:
    """Import the graphs of a langgraph.json.

    Puts its directory and its local dependencies on `sys.path`, and sets the variables of its `env` that are not
    set yet. What is wrong with a single graph is that agent's state.

    Raises:
        ConfigurationError: The file is no JSON, or not of langgraph.json's shape.
    """
    content = _content(path)
    graphs = content.get("graphs")
    if not isinstance(graphs, Mapping) or not graphs:
        raise ConfigurationError(f'{path} names no graphs: write {{"graphs": {{"agent": "./agent.py:graph"}}}}.')
    _set_environment(path, content.get("env"))
    _extend_path(path, content.get("dependencies"))
    return [_load(path, name, spec, timeout_s) for name, spec in graphs.items()]


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as exc:
        raise ConfigurationError(f"{path} cannot be read as JSON: {exc}.") from exc
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{path} holds no JSON object.")
    return content


def _set_environment(path: Path, env: object) -> None:
    if isinstance(env, str):
        file = path.parent / env
        if not file.is_file():
            raise ConfigurationError(f"{path} names the file {env} as `env`, which does not exist.")
        env = dotenv_values(file)
    if env is None:
        return
    if not isinstance(env, Mapping):
        raise ConfigurationError(f"In {path}, `env` is neither a file's name nor an object.")
    for name, value in env.items():
        if value is not None:
            os.environ.setdefault(name, str(value))


def _extend_path(path: Path, dependencies: object) -> None:
    if not isinstance(dependencies, (list, type(None))):
        raise ConfigurationError(f"In {path}, `dependencies` is no list.")
    directories = [path.parent]
    for dependency in dependencies or []:
        # Anything else is a requirement for pip: installing is not done at a start.
        if isinstance(dependency, str) and (dependency == "." or dependency.startswith(("./", "../", "/"))):
            directory = (path.parent / dependency).resolve()
            if not directory.is_dir():
                raise ConfigurationError(f"{path} names the directory {dependency}, which does not exist.")
            directories += [directory, directory / "src"]
    for directory in directories:
        if directory.is_dir() and str(directory) not in sys.path:
            sys.path.append(str(directory))


def _load(path: Path, name: str, spec: object, timeout_s: float) -> RegisteredAgent:
    described = spec if isinstance(spec, Mapping) else {"path": spec}
    target = described.get("path")
    registered = RegisteredAgent(name, None, entry_point=str(target))
    try:
        if not isinstance(target, str):
            raise AgentError('it has no path: write "./agent.py:graph"')
        found = run_limited(lambda: import_attribute(target, base=path.parent), timeout_s, what="importing")
        agent = as_agent(name, found, description=str(described.get("description") or ""))
        # The file's name for a graph is the one that clients know.
        registered.agent = agent if agent.name == name else replace(agent, name=name)
    except Exception as exc:  # noqa: BLE001  # the door to foreign code
        _log.debug("graph %s of %s could not be loaded", name, path, exc_info=exc)
        registered.state, registered.error = "failed", f"{target} of {path.name} cannot be loaded: {explain(exc)}"
    return registered
