"""Drawings of a graph: Mermaid for documents, text for terminals."""

from __future__ import annotations

from collections import defaultdict, deque

from langchain_core.runnables.graph import Edge
from langchain_core.runnables.graph import Graph as Drawing

from perron.runtime.graph import Graph

_NAMES = {"__start__": "start", "__end__": "end"}


def draw_mermaid(graph: Graph) -> str:
    """Return a Mermaid flowchart."""
    return graph.get_graph().draw_mermaid()


def draw_text(graph: Graph) -> str:
    """Return each node with the nodes that follow it, in the order in which a run can reach them.

    ```
    start → decide
    decide ┬→ refund   (if paid)
           └→ end   (if chosen)
    ```
    A branch is marked by its condition where that has a name.
    """
    drawing = graph.get_graph()
    following: dict[str, list[Edge]] = defaultdict(list)
    for edge in drawing.edges:
        following[edge.source].append(edge)
    lines: list[str] = []
    for node in _in_reach(drawing, following):
        name, edges = _name(drawing, node), following[node]
        for index, edge in enumerate(edges):
            arrow = "→" if len(edges) == 1 else "┬→" if index == 0 else "└→" if edge is edges[-1] else "├→"
            lead = name if index == 0 else " " * len(name)
            lines.append(f"{lead} {arrow} {_name(drawing, edge.target)}{_condition(edge)}")
        if not edges and node != "__end__":
            lines.append(name)
    return "\n".join(lines)


def _in_reach(drawing: Drawing, following: dict[str, list[Edge]]) -> list[str]:
    """Return the nodes breadth first from the start; those that nothing leads to come last."""
    seen: list[str] = []
    for first in ["__start__", *drawing.nodes]:
        waiting = deque([first] if first in drawing.nodes else [])
        while waiting:
            node = waiting.popleft()
            if node not in seen:
                seen.append(node)
                waiting.extend(edge.target for edge in following[node])
    return seen


def _name(drawing: Drawing, node: str) -> str:
    return _NAMES.get(node) or drawing.nodes[node].name


def _condition(edge: Edge) -> str:
    if not edge.conditional:
        return ""
    label = str(edge.data) if edge.data is not None else ""
    return f"   (if {label})" if label and label != edge.target else "   (if chosen)"
