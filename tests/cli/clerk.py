"""The graph that the tests of `perron batch` run: it writes down what it is given, and does what that says."""

import os
import signal
from pathlib import Path
from typing import Any, NotRequired

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

LEDGER = "ledger.txt"


class Given(TypedDict):
    text: str
    copies: NotRequired[int]
    note: NotRequired[str | None]


class Kept(Given):
    seen: dict[str, Any]


class Result(TypedDict):
    seen: dict[str, Any]


def work(state: Kept) -> dict[str, Any]:
    text = state["text"]
    with Path(LEDGER).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{text}\n")
    if text.startswith("fail"):
        raise ValueError("cannot do that")
    if text.startswith("ask"):
        interrupt("Really?")
    if text.startswith("kill") and not Path(text).exists():
        Path(text).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"seen": {key: state[key] for key in ("text", "copies", "note") if key in state}}


clerk = (
    StateGraph(Kept, input_schema=Given, output_schema=Result)
    .add_node("work", work)
    .add_edge(START, "work")
    .add_edge("work", END)
    .compile()
)
