"""Where a thread stands: the nodes that a checkpoint would run next, whichever graph has written it.

LangGraph passes over nodes that the graph does not have any more: a resumed thread would end there, as if done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.pregel import Pregel

from perron.errors import AgentError

Places = Mapping[str, frozenset[str]]
"""Path of a graph in its parents (empty for the root, `pay|inner`) → its nodes."""

_BRANCH, _JOIN, _SENDS = "branch:to:", "join:", "__pregel_tasks"
_SERDE = JsonPlusSerializer()


def places_of(graph: Pregel[Any, Any, Any, Any]) -> Places:
    """Return the nodes of a graph and of those graphs in it that LangGraph can find from outside."""
    found = graph.get_subgraphs(recurse=True)
    subgraphs = {path: frozenset(sub.nodes) for path, sub in found if isinstance(sub, Pregel)}
    return {"": frozenset(graph.nodes), **subgraphs}


def next_nodes(channels: Mapping[str, Any]) -> set[str]:
    """Return the nodes that run next, from a checkpoint's channels; of a StateGraph's, which name them."""
    found: set[str] = set()
    for channel, value in channels.items():
        if channel.startswith(_BRANCH):
            found.add(channel.removeprefix(_BRANCH))
        elif channel == _SENDS:
            found.update(send.node for send in value or ())
        elif channel.startswith(_JOIN):
            before, _, node = channel.removeprefix(_JOIN).rpartition(":")
            seen = value[0] if isinstance(value, tuple) else value  # a deferred node's has a flag beside it
            if set(before.split("+")) <= set(seen or ()):
                found.add(node)
    return found


def read_channel(encoding: str | None, blob: bytes | None) -> Any:
    """Return the value of a channel as LangGraph stored it; None for one that stands in the checkpoint itself."""
    return None if encoding is None or blob is None else _SERDE.loads_typed((encoding, blob))


def gone_nodes(places: Places, checkpoint_ns: str, nodes: Iterable[str]) -> list[str]:
    """Return those nodes that the graph of a checkpoint's namespace does not have any more.

    A graph that a node's code runs by itself cannot be seen from outside: nothing is gone there.
    """
    path = "|".join(part.partition(":")[0] for part in checkpoint_ns.split("|") if not part.isdigit())
    return sorted(set(nodes) - places[path]) if path in places else []


def refuse_gone(agent: str, places: Places, checkpoint_ns: str, channels: Mapping[str, Any]) -> None:
    """Refuse to go on from a checkpoint at a node that is gone.

    Raises:
        AgentError: It is; the message says what to do.
    """
    if gone := gone_nodes(places, checkpoint_ns, next_nodes(channels)):
        names = " and ".join(repr(name) for name in gone)
        raise AgentError(
            f"The thread stands at {names}, which the agent {agent!r} does not have any more: install a version "
            "that has it and `perron runs retry`, or give the thread new input. "
            f"See `perron agents check {agent}`.",
            agent=agent,
        )
