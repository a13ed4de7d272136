"""What of a graph's values can be stored, and what would come back as something else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.types import Interrupt, Send

from perron.database.encoding import clean
from perron.errors import AgentError

_UNDECLARED = ("__pregel_tasks", "__return__")
"""Channels that no schema describes: what `Send` hands to a node, and what a `@task` returned."""
_SCALARS = (str, int, float, bool, bytes, type(None))


def fit_for_jsonb(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace what PostgreSQL refuses in texts and numbers that the saver writes into a JSONB column.

    Everything else goes into blobs, which take all.
    """
    return {name: clean(value)[0] if _is_unfit(value) else value for name, value in values.items()}


def check_writes(writes: Sequence[tuple[str, Any]], serde: SerializerProtocol) -> None:
    """Refuse a task's results that the next process would read as plain dicts: then a crash changes the run.

    Raises:
        AgentError: Names the type and what to do.
    """
    for channel, value in writes:
        if channel in _UNDECLARED and not _is_plain(value):
            back = serde.loads_typed(serde.dumps_typed(value))
            if (changed := _find_changed(value, back)) is not None:
                what = "`Send` hands on" if channel == _UNDECLARED[0] else "a `@task` returns"
                raise AgentError(
                    f"What {what} holds a {changed.__module__}.{changed.__qualname__}, which would come back as "
                    "another type after a crash: use a TypedDict or a dict, or name the type in the graph's state."
                )


def _is_unfit(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isascii() or "\x00" in value
    return isinstance(value, float) and not math.isfinite(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return type(value) is dict and all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(_is_plain, value))
    return type(value) in _SCALARS


def _find_changed(before: Any, after: Any) -> type[Any] | None:
    """Return the type of the first part that came back as another one. Tuples may come back as lists."""
    if type(before) in (list, tuple) and isinstance(after, (list, tuple)):
        return _first(map(_find_changed, before, after))
    if type(before) is not type(after):
        return type(before)
    if isinstance(before, Mapping):
        return _first(_find_changed(value, after.get(key)) for key, value in before.items())
    if isinstance(before, Send):
        return _find_changed(before.arg, after.arg)
    if isinstance(before, Interrupt):
        return _find_changed(before.value, after.value)
    return None


def _first(found: Iterable[type[Any] | None]) -> type[Any] | None:
    return next((kind for kind in found if kind is not None), None)
