"""Graphs of all shapes that call the desk: questions, tools, gathers, subgraphs, functions, retries, threads."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import get_runtime
from langgraph.types import RetryPolicy, Send, interrupt
from tests.faults.graphs import ADDRESS, CUSTOMER, QuickDesk, State, chain

from perron import Agent, approve, integration, tools


async def send(text: str) -> str:
    """Send a message, which nothing makes safe to repeat; return its id."""
    return str((await integration(QuickDesk).send_message(ADDRESS, text)).id)


async def two_questions(state: State) -> State:
    """Ask twice with LangGraph's own `interrupt`, and act on each answer."""
    first = interrupt("The first?")
    await send(f"first: {first}")
    second = interrupt("The second?")
    await send(f"second: {second}")
    return {"log": [first, second]}


async def first(state: State) -> State:
    await send("first")
    return {"log": ["first"]}


async def second(state: State) -> State:
    await send("second")
    return {"log": ["second"]}


async def third(state: State) -> State:
    await send("third")
    return {"log": ["third"]}


async def says(state: State) -> State:
    """Repeat what it was told, and log it."""
    logging.getLogger(__name__).debug("was told %s", state["log"])
    return {"log": state["log"]}


async def pause(state: State) -> State:
    """Wait for a person, and call nothing."""
    return {"log": [interrupt("Go on?")]}


async def gathered(state: State) -> State:
    """Make four calls at once."""
    desk = integration(QuickDesk)
    made = await asyncio.gather(
        desk.send_message(ADDRESS, "one"),
        desk.refund("pay-1-1", 100),
        desk.open_ticket(CUSTOMER, "Lost card", "Please help"),
        desk.send_message(ADDRESS, "two"),
    )
    return {"log": [each.id for each in made]}


async def gathered_with_approval(state: State) -> State:
    """Ask a person for one of two refunds that are made at once."""
    desk = integration(QuickDesk)

    async def if_approved() -> Any:
        return await desk.refund("pay-1-2", await approve("Refund?", args=200))

    made = await asyncio.gather(desk.refund("pay-1-1", 100), if_approved())
    return {"log": [each.id for each in made]}


async def flaky(state: State) -> State:
    """Fail at the first attempt of each process, after a call."""
    desk = integration(QuickDesk)
    message = await desk.send_message(ADDRESS, "flaky")
    info = get_runtime().execution_info
    if info is not None and info.node_attempt == 1:
        raise ConnectionError("try again")
    refund = await desk.refund("pay-1-1", 100)
    return {"log": [message.id, refund.id]}


async def welcome(state: State) -> State:
    message = await integration(QuickDesk).send_message.once("welcome")(ADDRESS, "Welcome!")
    return {"log": [message.id]}


async def welcome_again(state: State) -> State:
    message = await integration(QuickDesk).send_message.once("welcome")(ADDRESS, "Welcome again!")
    return {"log": [message.id]}


def in_a_thread(state: State) -> State:
    """Make calls from a sync node."""
    desk = integration(QuickDesk)
    message = desk.send_message.sync(ADDRESS, "from a thread")
    refund = desk.refund.sync("pay-1-1", 100)
    return {"log": [message.id, refund.id]}


async def refund_one(state: State) -> State:
    refund = await integration(QuickDesk).refund(state["do"], 100)
    return {"log": [f"{state['do']} {refund.payment} {refund.id}"]}


def fan_out(state: State) -> list[Send]:
    return [Send("refund_one", {"do": f"pay-1-{n}"}) for n in (1, 2, 3)]


@tool
def pay_back(payment: str) -> str:
    """Refund a payment."""
    return str(integration(QuickDesk).refund.sync(payment, 100).id)


@tool
def write_to(text: str) -> str:
    """Write to the customer."""
    return str(integration(QuickDesk).send_message.sync(ADDRESS, text).id)


@task
async def first_task() -> str:
    return await send("first")


@task
def second_task() -> str:
    return str(integration(QuickDesk).send_message.sync(ADDRESS, "second").id)


@entrypoint()
async def flow(given: dict[str, Any]) -> dict[str, Any]:
    return {"log": [await first_task(), await second_task()]}


def questions_inside() -> StateGraph[State]:
    """Put the node with two questions into a subgraph."""
    builder = StateGraph(State)
    builder.add_node("inner", chain(two_questions).compile())
    builder.add_edge(START, "inner")
    builder.add_edge("inner", END)
    return builder


def around(checkpointer: bool | None) -> StateGraph[State]:
    """Put a graph of two nodes between two nodes."""
    inner = chain(first, second).compile(checkpointer=checkpointer)
    builder = StateGraph(State)
    builder.add_node("inner", inner)
    builder.add_node("third", third)
    builder.add_edge(START, "inner")
    builder.add_edge("inner", "third")
    builder.add_edge("third", END)
    return builder


async def calls_a_graph(state: State) -> State:
    """Call, run a graph, and call again, all in one node."""
    await send("before")
    inner = await chain(first, second).compile().ainvoke({"log": []})
    await send("after")
    return {"log": inner["log"]}


def with_tools(*made: Any) -> StateGraph[MessagesState]:
    builder = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode(list(made)))
    builder.add_edge(START, "tools")
    builder.add_edge("tools", END)
    return builder


def with_retries() -> StateGraph[State]:
    builder = StateGraph(State)
    builder.add_node("flaky", flaky, retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=3))
    builder.add_edge(START, "flaky")
    builder.add_edge("flaky", END)
    return builder


def fanned_out() -> StateGraph[State]:
    builder = StateGraph(State)
    builder.add_node("refund_one", refund_one)
    builder.add_conditional_edges(START, fan_out, ["refund_one"])
    builder.add_edge("refund_one", END)
    return builder


SHAPES = [
    Agent("two_questions", chain(two_questions)),
    Agent("questions_inside", questions_inside()),
    Agent("steps", chain(first, second, third)),
    Agent("says", chain(says)),
    Agent("paused", chain(first, pause, second)),
    Agent("gathered", chain(gathered)),
    Agent("gathered_with_approval", chain(gathered_with_approval)),
    Agent("flaky", with_retries()),
    Agent("once", chain(welcome, welcome_again)),
    Agent("in_a_thread", chain(in_a_thread)),
    Agent("fanned_out", fanned_out()),
    Agent("tools", with_tools(*tools(QuickDesk.refund, QuickDesk.send_message))),
    Agent("sync_tools", with_tools(pay_back, write_to)),
    Agent("flow", flow),
    Agent("calls_a_graph", chain(calls_a_graph)),
    *(Agent(f"around_{checkpointer}", around(checkpointer)) for checkpointer in (None, True, False)),
]
