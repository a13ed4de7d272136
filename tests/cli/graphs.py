"""Graphs that the tests of the command line run, named by a langgraph.json of theirs."""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

from perron import approve


class State(TypedDict, total=False):
    text: str
    answer: str
    said: Any


def answer(state: State) -> State:
    get_stream_writer()({"progress": "thinking"})
    return {"answer": f"You said: {state['text']}"}


def fail(state: State) -> State:
    raise ValueError(f"cannot work with {state['text']!r}")


def ask(state: State) -> State:
    return {"said": interrupt({"question": "Which colour?"})}


def ask_twice(state: State) -> State:
    return {"said": [interrupt("first?"), interrupt("second?")]}


async def approve_refund(state: State) -> State:
    return {"said": await approve("Refund?", args={"payment": "p1", "cents": 9_000})}


async def wait(state: State) -> State:
    """Say that it has begun, then wait for a file."""
    file = Path(state["text"])
    _touch(file.with_suffix(".begun"))
    while not _exists(file):  # noqa: ASYNC110  # another process makes it
        await asyncio.sleep(0.02)
    return {"answer": "waited"}


async def block(state: State) -> State:
    """Say that it has begun, then hold up the whole loop."""
    _touch(Path(state["text"]).with_suffix(".begun"))
    time.sleep(60)  # noqa: ASYNC251  # what careless authors do
    return {}


def _touch(file: Path) -> None:
    file.touch()


def _exists(file: Path) -> bool:
    return file.exists()


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


async def speak(state: Chat) -> Chat:
    model = GenericFakeChatModel(messages=iter([AIMessage("one two three")]))
    return {"messages": [await model.ainvoke(state["messages"])]}


def _one(node: Any, state: Any = State) -> Any:
    return StateGraph(state).add_node("work", node).add_edge(START, "work").add_edge("work", END).compile()


echo = _one(answer)
failing = _one(fail)
asking = _one(ask)
asking_twice = _one(ask_twice)
approving = _one(approve_refund)
waiting = _one(wait)
blocking = _one(block)
two_steps = (
    StateGraph(State)
    .add_node("wait", wait)
    .add_node("work", answer)
    .add_edge(START, "wait")
    .add_edge("wait", "work")
    .add_edge("work", END)
    .compile()
)
renamed = StateGraph(State).add_node("query", ask).add_edge(START, "query").add_edge("query", END).compile()
"""`asking` after its node was given another name."""
talk = _one(speak, Chat)
