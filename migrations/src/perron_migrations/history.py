"""The revisions in their order."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_ID = re.compile(r'^revision = "(\w+)"', re.MULTILINE)
_PARENT = re.compile(r'^down_revision = "(\w+)"', re.MULTILINE)


@cache
def revisions() -> tuple[str, ...]:
    """Return the ids of all revisions, the oldest first.

    Read from the files' text: every start compares the database's revision with the last one here, and importing
    Alembic for that would take longer than the rest of the start.
    """
    children: dict[str | None, str] = {}
    for file in resources.files("perron_migrations").joinpath("versions").iterdir():
        text = file.read_text(encoding="utf-8") if file.name.endswith(".py") else ""
        if found := _ID.search(text):
            parent = _PARENT.search(text)
            children[parent[1] if parent else None] = found[1]
    ordered: list[str] = []
    while (child := children.get(ordered[-1] if ordered else None)) is not None:
        ordered.append(child)
    return tuple(ordered)
