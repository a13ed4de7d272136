"""JSON schemas of a graph: what goes in, what comes out, what it keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, is_typeddict

from langgraph.channels.base import BaseChannel
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, TypeAdapter, create_model

from perron.runtime.graph import Graph
from perron.runtime.typed_dict import portable

Schema = dict[str, Any] | None

_log = logging.getLogger(__name__)


def graph_schemas(graph: Graph) -> dict[str, Schema]:
    """Return `input`, `output`, `state` and `context`; None where Pydantic cannot express one. Never raises."""
    builder = graph.builder if isinstance(graph, CompiledStateGraph) else None
    return {
        "input": _derived(graph.get_input_jsonschema, builder and builder.input_schema),
        "output": _derived(graph.get_output_jsonschema, builder and builder.output_schema),
        "state": _derived(lambda: _state_schema(graph), builder and builder.state_schema),
        "context": _derived(graph.get_context_jsonschema, graph.context_schema),
    }


def _state_schema(graph: Graph) -> Schema:
    names = graph.stream_channels_asis
    channels = {name: graph.channels[name] for name in ([names] if isinstance(names, str) else names)}
    fields: dict[str, Any] = {
        name: (channel.ValueType, None) for name, channel in channels.items() if isinstance(channel, BaseChannel)
    }
    model: type[BaseModel] = create_model(f"{graph.get_name()}State", **fields)
    return model.model_json_schema()


def _derived(derive: Callable[[], Schema], declared: object) -> Schema:
    """Return what `derive` does; where that fails, the schema of the declared TypedDict."""
    ways = [derive]
    if is_typeddict(declared):
        ways.append(lambda: TypeAdapter(portable(declared)).json_schema())
    for way in ways:
        try:
            return way()
        except Exception as exc:  # noqa: BLE001  # types that have no schema fail in many ways
            _log.debug("a schema cannot be derived", exc_info=exc)
    return None
