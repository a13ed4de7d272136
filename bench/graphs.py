"""The graphs that the benchmarks run: one node, ten nodes, ReAct with a fake model and a tool, and a talker."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from typing_extensions import TypedDict


class Count(TypedDict):
    """A number and who added to it."""

    n: int
    log: Annotated[list[str], operator.add]


class Talk(TypedDict):
    """How many tokens a model is to say, and how long it takes for each."""

    tokens: int
    pause_s: float


@dataclass(frozen=True)
class Bench:
    """A graph with an input to measure it with."""

    builder: Any
    given: Callable[[], dict[str, Any]]

    @property
    def compiled(self) -> Any:
        """The graph without a checkpointer."""
        return self.builder.compile()


def _chain(length: int) -> Any:
    builder = StateGraph(Count)
    previous = START
    for i in range(length):
        name = f"node{i}"

        async def node(state: Count, name: str = name) -> dict[str, Any]:
            return {"n": state["n"] + 1, "log": [name]}

        builder.add_node(name, node)
        builder.add_edge(previous, name)
        previous = name
    builder.add_edge(previous, END)
    return builder


@tool
async def look_up(city: str) -> str:
    """Return the weather of a city."""
    return f"{city}: 21 °C, wind from the west"


def _react() -> Any:
    async def model(state: MessagesState) -> dict[str, Any]:
        answered = any(isinstance(message, ToolMessage) for message in state["messages"])
        call = {"name": "look_up", "args": {"city": "Basel"}, "id": "call-1"}
        reply = AIMessage("It is 21 °C in Basel.") if answered else AIMessage("", tool_calls=[call])
        return {"messages": [await GenericFakeChatModel(messages=iter([reply])).ainvoke(state["messages"])]}

    def goes_on(state: MessagesState) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else END

    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tools", ToolNode([look_up]))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", goes_on, ["tools", END])
    builder.add_edge("tools", "model")
    return builder


def _talker() -> Any:
    async def talk(state: Talk) -> dict[str, Any]:
        # Words and what stands between them are a token each.
        answer = AIMessage(" ".join(["word"] * (state["tokens"] // 2)) + " ")
        async for _ in GenericFakeChatModel(messages=iter([answer])).astream("go on"):
            await asyncio.sleep(state["pause_s"])
        return {}

    return StateGraph(Talk).add_node("talk", talk).add_edge(START, "talk").add_edge("talk", END)


GRAPHS = {
    "one-node": Bench(_chain(1), lambda: {"n": 1, "log": []}),
    "ten-nodes": Bench(_chain(10), lambda: {"n": 1, "log": []}),
    "react": Bench(_react(), lambda: {"messages": [{"role": "user", "content": "How is the weather in Basel?"}]}),
}
TALKER = Bench(_talker(), lambda: {"tokens": 50, "pause_s": 0.0})
