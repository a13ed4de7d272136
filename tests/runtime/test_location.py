"""Where code stands in its graph, as calls need to know it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy, Send
from tests.conftest import Deployment, State, chain

from perron.integrations.operations.effect import effect
from perron.integrations.repeat import AskPerson
from perron.integrations.run.context import TaskRef, current_run
from perron.plugins.agent import Agent


def locate() -> TaskRef:
    return current_run("a test").locate()


async def test_nodes_are_told_apart(deployment: Deployment) -> None:
    seen: list[TaskRef] = []

    async def one(state: State) -> State:
        seen.extend([locate(), locate()])
        return {}

    def two(state: State) -> State:
        seen.append(locate())
        return {}

    platform = await deployment.open(chain(one, two))
    run = await platform.run("agent", {"text": ""})

    assert run.status == "success", run.error
    assert seen[0] == seen[1]
    assert [(ref.node, ref.checkpoint_ns, ref.attempt, ref.tool_call_id) for ref in seen[1:]] == [
        ("one", "", 1, ""),
        ("two", "", 1, ""),
    ]
    assert seen[1].task_id != seen[2].task_id


async def test_the_tasks_of_one_node_are_told_apart(deployment: Deployment) -> None:
    seen: list[TaskRef] = []

    async def worker(state: State) -> State:
        seen.append(locate())
        return {}

    builder = StateGraph(State)
    builder.add_node("worker", worker)
    builder.add_conditional_edges(START, lambda state: [Send("worker", {"text": str(i)}) for i in range(5)])
    platform = await deployment.open(Agent("agent", builder))
    await platform.run("agent", {"text": ""})

    assert len({ref.task_id for ref in seen}) == 5


async def test_attempts_of_a_node_are_counted(deployment: Deployment) -> None:
    seen: list[TaskRef] = []

    async def flaky(state: State) -> State:
        seen.append(locate())
        if len(seen) < 3:
            raise ConnectionError
        return {}

    builder = StateGraph(State)
    builder.add_node("flaky", flaky, retry_policy=RetryPolicy(initial_interval=0.01, jitter=False))
    builder.add_edge(START, "flaky")
    platform = await deployment.open(Agent("agent", builder))
    await platform.run("agent", {"text": ""})

    assert len({ref.task_id for ref in seen}) == 1
    assert [ref.attempt for ref in seen] == sorted({ref.attempt for ref in seen})


@pytest.mark.parametrize("checkpointer", [None, False])
async def test_a_subgraph_counts_when_it_has_checkpoints(
    deployment: Deployment, checkpointer: bool | None
) -> None:
    seen: dict[str, TaskRef] = {}

    async def inner(state: State) -> State:
        seen["inner"] = locate()
        return {"log": ["inner"]}

    async def outer(state: State) -> Any:
        seen["outer"] = locate()
        return await subgraph.ainvoke({"text": ""})

    builder = chain(inner).build
    subgraph = builder.compile(checkpointer=checkpointer)
    platform = await deployment.open(chain(outer))
    run = await platform.run("agent", {"text": ""})

    assert run.status == "success", run.error
    if checkpointer is False:
        assert seen["inner"].task_id == seen["outer"].task_id
        assert (seen["inner"].node, seen["inner"].checkpoint_ns) == ("outer", "")
    else:
        assert seen["inner"].task_id != seen["outer"].task_id
        assert seen["inner"].checkpoint_ns == f"outer:{seen['outer'].task_id}"


async def test_tasks_of_a_functional_graph_are_told_apart(deployment: Deployment) -> None:
    seen: list[TaskRef] = []

    @task
    async def step(i: int) -> int:
        seen.append(locate())
        return i

    @entrypoint()
    async def flow(given: list[int]) -> list[int]:
        return list(await asyncio.gather(*(step(i) for i in given)))

    platform = await deployment.open(Agent("agent", flow))
    run = await platform.run("agent", [1, 2, 3])

    assert (run.status, run.output) == ("success", [1, 2, 3]), run.error
    assert len({ref.task_id for ref in seen}) == 3
    assert {(ref.node, ref.checkpoint_ns) for ref in seen} == {("step", "")}


async def test_tasks_inside_tasks_and_nodes_of_subgraphs_belong_to_their_graph(deployment: Deployment) -> None:
    seen: dict[str, TaskRef] = {}

    @task
    async def leaf(name: str) -> str:
        seen[name] = locate()
        return name

    @task
    async def branch(name: str) -> str:
        seen[name] = locate()
        return await leaf(f"leaf in {name}")

    async def inner(state: State) -> State:
        seen["inner"] = locate()
        return {"log": [await branch("branch")]}

    async def outer(state: State) -> Any:
        await subgraph.ainvoke({"text": ""})
        return await unsaved.ainvoke({"text": ""})

    async def unsaved_inner(state: State) -> State:
        return {"log": [await leaf("leaf unsaved")]}

    subgraph = chain(inner).build.compile()
    unsaved = chain(unsaved_inner).build.compile(checkpointer=False)
    platform = await deployment.open(chain(outer))
    run = await platform.run("agent", {"text": ""})

    assert run.status == "success", run.error
    assert len({ref.task_id for ref in seen.values()}) == 4
    assert {seen[name].checkpoint_ns for name in ("inner", "branch", "leaf in branch")} == {
        seen["inner"].checkpoint_ns
    }
    assert seen["inner"].checkpoint_ns.startswith("outer:")
    assert seen["leaf unsaved"].node == "outer"


async def test_tools_that_run_side_by_side_have_their_own_call_ids(deployment: Deployment) -> None:
    seen: dict[str, set[str]] = defaultdict(set)

    @tool
    async def fetch(city: str) -> str:
        """Look a city up."""
        seen[city].add(locate().tool_call_id)
        await asyncio.sleep(0.01)
        seen[city].add(locate().tool_call_id)
        return city

    @tool
    def compute(city: str) -> str:
        """Look a city up in a thread."""
        seen[city].add(locate().tool_call_id)
        return city

    calls = [
        {"name": ("fetch", "compute")[i % 2], "args": {"city": f"city-{i}"}, "id": f"call-{i}"} for i in range(8)
    ]

    async def model(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("", tool_calls=calls)]}

    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tools", ToolNode([fetch, compute]))
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    builder.add_edge("tools", END)
    platform = await deployment.open(Agent("agent", builder))
    run = await platform.run("agent", {"messages": [{"role": "user", "content": "go"}]})

    assert run.status == "success", run.error
    assert seen == {f"city-{i}": {f"call-{i}"} for i in range(8)}


async def test_equal_calls_of_two_tasks_are_both_made_although_the_first_is_done_before_a_kill(
    deployment: Deployment,
) -> None:
    sent: list[str] = []
    reached = asyncio.Event()

    @effect("post.send", repeat=AskPerson)
    async def send(text: str) -> int:
        """Send a text."""
        sent.append(text)
        return len(sent)

    @task
    async def first() -> int:
        return await send("hello")

    @task
    async def second() -> int:
        if not reached.is_set():
            reached.set()
            await asyncio.Event().wait()
        return await send("hello")

    @entrypoint()
    async def flow(given: Any) -> list[int]:
        return [await first(), await second()]

    platform = await deployment.open(Agent("agent", flow))
    run_id = await platform.submit("agent", 0)
    await reached.wait()
    await deployment.declare_dead(platform)

    run = await platform.join(run_id)

    assert (run.status, run.output, run.waiting) == ("success", [1, 2], ()), run.error
    assert sent == ["hello", "hello"]
