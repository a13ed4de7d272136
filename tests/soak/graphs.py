"""The graph of the soak: each node writes into the ledger when it begins and when it ends."""

from __future__ import annotations

import asyncio
import operator
import os
import signal
import time
from typing import Annotated, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from tests.soak.ledger import Pen
from typing_extensions import TypedDict

BALLAST_BYTES = 40_000_000

T = TypeVar("T")


def newer(_old: T, new: T) -> T:
    """Take the newer one, also of two at once: a command that is given twice must show in `applied` alone."""
    return new


class Work(TypedDict, total=False):
    """What a run is to do."""

    name: Annotated[str, newer]
    does: Annotated[str, newer]
    """What the second node does besides: block the loop, swell the state, kill its process, or ask."""
    takes_s: Annotated[float, newer]
    """How long each node takes."""
    blocks_s: float
    """How long the second blocks the loop, when it does."""
    applied: Annotated[list[str], operator.add]
    """What of all runs has been applied to the thread's state, as "<name> <node>"."""
    ballast: str


pen = Pen()


async def first(state: Work, config: RunnableConfig) -> Work:
    return await _write(state, config, "first")


async def second(state: Work, config: RunnableConfig) -> Work:
    match state.get("does"):
        case "ask":
            interrupt("Go on?")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "block":
            return await _write(state, config, "second", blocks_s=state["blocks_s"])
        case "swell":
            return {**await _write(state, config, "second"), "ballast": "x" * BALLAST_BYTES}
    return await _write(state, config, "second")


async def third(state: Work, config: RunnableConfig) -> Work:
    return {**await _write(state, config, "third"), "ballast": ""}


async def _write(state: Work, config: RunnableConfig, node: str, *, blocks_s: float = 0.0) -> Work:
    configurable = config["configurable"]
    entry_id = pen.begin(configurable["thread_id"], configurable["run_id"], node)
    try:
        time.sleep(blocks_s)  # noqa: ASYNC251  # a node may
        await asyncio.sleep(state["takes_s"])
    finally:
        pen.end(entry_id)
    return {"applied": [f"{state['name']} {node}"]}


work = (
    StateGraph(Work)
    .add_node("first", first)
    .add_node("second", second)
    .add_node("third", third)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", "third")
    .add_edge("third", END)
    .compile()
)
