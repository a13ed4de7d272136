"""Graphs whose nodes write down what they do, in a file that outlives their process."""

from __future__ import annotations

import asyncio
import operator
import os
import time
from pathlib import Path
from typing import Annotated

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class Work(TypedDict, total=False):
    """A name; where the nodes write, what the first one waits for, and what has been applied to the state."""

    name: str
    ledger: str
    gate: str
    applied: Annotated[list[str], operator.add]


async def first(state: Work) -> Work:
    _write(state, "first")
    if gate := state.get("gate"):
        await asyncio.to_thread(_wait_for, Path(gate))
    return {"applied": [f"{state['name']} first"]}


async def second(state: Work) -> Work:
    await asyncio.sleep(0.05)  # long enough to be killed in
    _write(state, "second")
    return {"applied": [f"{state['name']} second"]}


async def talk(state: Work) -> Work:
    model = GenericFakeChatModel(messages=iter([AIMessage(" ".join(f"w{i}" for i in range(100)))]))
    async for _ in model.astream("go on"):
        await asyncio.sleep(0.005)
    _write(state, "talk")
    return {"applied": [f"{state['name']} talk"]}


def _wait_for(gate: Path) -> None:
    while not gate.exists():
        time.sleep(0.01)


def _write(state: Work, node: str) -> None:
    line = f"{state['name']} {node} {os.getpid()}\n".encode()
    descriptor = os.open(state["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)  # one write: lines of several processes do not mix
    os.close(descriptor)


work = (
    StateGraph(Work)
    .add_node("first", first)
    .add_node("second", second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", END)
    .compile()
)
noting = StateGraph(Work).add_node("first", first).add_edge(START, "first").add_edge("first", END).compile()
talking = StateGraph(Work).add_node("talk", talk).add_edge(START, "talk").add_edge("talk", END).compile()
