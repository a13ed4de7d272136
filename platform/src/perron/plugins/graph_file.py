"""Importing what `path.py:attribute` or `pkg.mod:attribute` names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from perron.errors import AgentError, nearest


def import_attribute(target: str, *, base: Path) -> object:
    """Import `<module>:<attribute>`.

    Args:
        target: The module is a file's path, relative to `base`, or a dotted name.

    Raises:
        AgentError: There is no such file or attribute, or it is no Python.
        Exception: What the module raises at import.
    """
    place, _, attribute = target.rpartition(":")
    if not place or not attribute:
        raise AgentError(f"{target!r} names no attribute: write `./agent.py:graph`")
    module = _import_file(base / place) if _is_path(place) else importlib.import_module(place)
    found: object = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise AgentError(f"it has no attribute {attribute!r}.{nearest(attribute, vars(module))}")
        found = getattr(found, name)
    return found


def _is_path(place: str) -> bool:
    return "/" in place or "\\" in place or Path(place).suffix in (".py", ".js", ".ts", ".mjs", ".mts", ".tsx")


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if path.suffix != ".py":
        raise AgentError("only graphs in Python can run here")
    if not path.is_file():
        raise AgentError("there is no such file")
    return _import_from_package(path) or _import_alone(path)


def _import_from_package(path: Path) -> ModuleType | None:
    """Import a file that lies in a package by its dotted name, so that its relative imports work.

    None when it lies in none, or when another module of that name is the one that Python finds.
    """
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    if root == path.parent:
        return None
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    if str(root) not in sys.path:
        sys.path.append(str(root))
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != path:
        return None
    return importlib.import_module(name)


def _import_alone(path: Path) -> ModuleType:
    """Import a single file; a second import of it gives the same module."""
    name = f"{path.stem}_{sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AgentError("it cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and get_type_hints look the module up while it is imported
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
