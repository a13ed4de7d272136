"""Checking a run's input against what its graph declares: before the run is created, and when it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from langgraph.channels.last_value import LastValue
from langgraph.pregel import Pregel
from pydantic import TypeAdapter, ValidationError

from perron.errors import InvalidInputError, nearest
from perron.plugins.agent import Agent
from perron.runtime.agent_schemas import graph_schemas
from perron.runtime.graph import open_graph

log = structlog.get_logger(__name__)

_MISTYPED = 0.82
"""How much a field's name has to be like a known one to be taken for it, from 0 to 1: `line3` is no `line2`."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a graph says of its input."""

    fields: frozenset[str]
    required: tuple[str, ...]
    """Only where the input has a schema of its own: a state's fields are for nodes to fill."""
    adapters: dict[str, TypeAdapter[Any]]
    """Of fields without a reducer: `messages` takes dicts, tuples and plain text alike."""


_declared: WeakKeyDictionary[Agent, Declared | None] = WeakKeyDictionary()


async def check_input(agent: Agent, given: Any) -> None:
    """Refuse an input that the agent's graph cannot take.

    Raises:
        InvalidInputError: One sentence with field and reason.
    """
    if given is None:
        return
    if agent not in _declared:
        async with open_graph(agent) as graph:
            _declared[agent] = _read(graph)
    declared = _declared[agent]
    if declared is not None:
        _check(agent.name, declared, given)


def _read(graph: Pregel[Any, Any, Any, Any]) -> Declared | None:
    try:
        schema = graph_schemas(graph)["input"] or {}
        fields = frozenset(schema.get("properties") or ())
        builder = getattr(graph, "builder", None)
        has_own = builder is not None and builder.input_schema is not builder.state_schema
        plain = {name: channel.typ for name, channel in graph.channels.items() if isinstance(channel, LastValue)}
        return Declared(
            fields=fields,
            required=tuple(schema.get("required") or ()) if has_own else (),
            adapters={name: TypeAdapter(plain[name]) for name in fields if name in plain},
        )
    except Exception as exc:  # noqa: BLE001  # the author's types may be anything; then LangGraph judges the input
        log.debug("input_not_checked", reason=str(exc))
        return None


def _check(name: str, declared: Declared, given: Any) -> None:
    fields = ", ".join(sorted(declared.fields))
    if not declared.fields:
        return
    if not isinstance(given, dict):
        raise InvalidInputError(
            f"The input of agent {name!r} is an object with the fields {fields}, not {kind_of(given)}."
        )
    for field in declared.required:
        if field not in given:
            hint = nearest(field, [str(key) for key in given if key not in declared.fields])
            raise InvalidInputError(f"The input of agent {name!r} lacks the field {field!r}.{hint}", field=field)
    if given and not declared.fields & given.keys():
        raise InvalidInputError(f"The input of agent {name!r} has none of its fields: {fields}.")
    for field in given.keys() - declared.fields:
        # Other fields may come along and are dropped; one that was meant for ours would be lost.
        if hint := nearest(str(field), declared.fields - given.keys(), cutoff=_MISTYPED):
            raise InvalidInputError(f"The input of agent {name!r} has the unknown field {field!r}.{hint}")
    for field, adapter in declared.adapters.items():
        if field in given:
            try:
                adapter.validate_python(given[field])
            except ValidationError as exc:
                problem = exc.errors(include_url=False)[0]
                where = ".".join([field, *(str(part) for part in problem["loc"])])
                raise InvalidInputError(
                    f"The input of agent {name!r} does not fit at {where}: {problem['msg']}.", field=where
                ) from None


def kind_of(value: Any) -> str:
    """Name the JSON type of a value, for a sentence; whole and broken numbers are one type."""
    kinds = {str: "a text", list: "an array", dict: "an object", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")
