"""Inputs of runs that were put in line for another version of their agent."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from tests.conftest import Deployment, State, chain
from typing_extensions import TypedDict

from perron.plugins.agent import Agent


class Titled(TypedDict):
    title: str


class Counted(TypedDict):
    text: int


def greet(state: State) -> State:
    return {"log": [state["text"]]}


async def nothing(_state: Any) -> dict[str, Any]:
    return {}


def agent(state: Any, *, input_schema: Any = None) -> Agent:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(state, input_schema=input_schema or state)
    return Agent(
        "agent",
        builder.add_node("nothing", RunnableLambda(nothing)).add_edge(START, "nothing").add_edge("nothing", END),
    )


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (agent(Titled), "has none of its fields: title"),
        (agent(State, input_schema=Titled), "lacks the field 'title'"),
        (agent(Counted), "does not fit at text: Input should be a valid integer"),
    ],
    ids=["other fields", "a field more", "another type"],
)
async def test_an_input_that_no_longer_fits_ends_its_run_with_the_reason(
    deployment: Deployment, now: Agent, sentence: str
) -> None:
    before = await deployment.open(chain(greet), worker=False)
    run_id = await before.submit("agent", {"text": "hi"})
    after = await deployment.open(now)

    run = await after.join(run_id)

    assert run.status == "error"
    assert run.error is not None
    assert sentence in run.error["message"]
    thread = await after.threads.get(after.caller, run.thread_id)
    assert thread.status == "error"
    await after.close()

    # Nothing is lost: the version that it was meant for does it.
    again = await deployment.open(chain(greet))
    assert (await again.retry(run_id)).output["log"] == ["hi"]
