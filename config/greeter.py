"""The graph that langgraph.json names: the smallest one that can be run."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    """What goes in and comes out."""

    name: str
    greeting: str


def greet(state: State) -> State:
    """Greet whoever is named."""
    return {"greeting": f"Good morning, {state.get('name', 'stranger')}!"}


builder = StateGraph(State)
builder.add_node("greet", greet)
builder.add_edge(START, "greet")
builder.add_edge("greet", END)
graph = builder.compile()
