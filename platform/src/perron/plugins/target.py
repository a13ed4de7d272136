"""What an agent's import path points at, as an `Agent`."""

from __future__ import annotations

from perron.errors import AgentError
from perron.plugins.agent import Agent


def as_agent(name: str, target: object, *, description: str = "") -> Agent:
    """Make an agent of a graph or a factory; an `Agent` is handed on.

    Raises:
        AgentError: It is none of them.
    """
    if isinstance(target, Agent):
        return target
    # LangGraph is no business of this floor: its classes are known here by what they can do.
    if (
        callable(target)
        or callable(getattr(target, "compile", None))
        or callable(getattr(target, "astream", None))
    ):
        return Agent(name, target, description=description)
    raise AgentError(f"it is of type {type(target).__name__}: neither a graph, nor a factory, nor an Agent")
