"""JSON schemas of a graph: what goes in, what comes out, what it keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from langgraph.channels.base import BaseChannel
from pydantic import BaseModel, create_model

from perron.runtime.graph import Graph

Schema = dict[str, Any] | None

_log = logging.getLogger(__name__)


def graph_schemas(graph: Graph) -> dict[str, Schema]:
    """Return `input`, `output`, `state` and `context`; None where Pydantic cannot express one. Never raises."""
    return {
        "input": _derived(graph.get_input_jsonschema),
        "output": _derived(graph.get_output_jsonschema),
        "state": _derived(lambda: _state_schema(graph)),
        "context": _derived(graph.get_context_jsonschema),
    }


def _state_schema(graph: Graph) -> Schema:
    names = graph.stream_channels_asis
    channels = {name: graph.channels[name] for name in ([names] if isinstance(names, str) else names)}
    fields: dict[str, Any] = {
        name: (channel.ValueType, None) for name, channel in channels.items() if isinstance(channel, BaseChannel)
    }
    model: type[BaseModel] = create_model(f"{graph.get_name()}State", **fields)
    return model.model_json_schema()


def _derived(derive: Callable[[], Schema]) -> Schema:
    try:
        return derive()
    except Exception as exc:  # noqa: BLE001  # types that have no schema fail in many ways
        _log.debug("a schema cannot be derived", exc_info=exc)
        return None
