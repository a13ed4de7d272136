"""A refund on plain LangGraph: its own checkpointer, its own HTTP, and nothing of Perron.

Run as `python -m perron.cli.demo.plain start`, killed, and run again as `… resume`.
"""

from __future__ import annotations

import asyncio
import os
import sys

import httpx
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from typing_extensions import TypedDict

SCHEMA = "plain"
"""Its tables lie in the demo's database, beside Perron's."""


class State(TypedDict, total=False):
    """What the steps hand on."""

    payment: str
    amount_cents: int
    refund_id: str


def check(state: State) -> State:
    """Leave a checkpoint, so that there is something to come back to."""
    return {"amount_cents": state["amount_cents"]}


async def refund(state: State) -> State:
    """Pay it back, as one would write it."""
    headers = {"Authorization": f"Bearer {os.environ['DESK_TOKEN']}"}
    async with httpx.AsyncClient(base_url=os.environ["DESK_URL"], headers=headers, timeout=60) as desk:
        answer = await desk.post(
            f"/payments/{state['payment']}/refunds", json={"amount_cents": state["amount_cents"]}
        )
        answer.raise_for_status()
        return {"refund_id": answer.json()["id"]}


async def work(given: State | None) -> None:
    """Run the graph from its beginning, or, given nothing, from where its last process has left it."""
    async with await AsyncConnection.connect(
        os.environ["PLAIN_DATABASE"], autocommit=True, prepare_threshold=0, row_factory=dict_row
    ) as connection:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        await connection.execute(f"SET search_path = {SCHEMA}")
        saver = AsyncPostgresSaver(connection)
        await saver.setup()
        graph = (
            StateGraph(State)
            .add_node("check", check)
            .add_node("refund", refund)
            .add_edge(START, "check")
            .add_edge("check", "refund")
            .add_edge("refund", END)
            .compile(checkpointer=saver)
        )
        await graph.ainvoke(given, {"configurable": {"thread_id": "refund"}}, durability="sync")


if __name__ == "__main__":
    is_start = sys.argv[1] == "start"
    amount = int(os.environ["PLAIN_CENTS"])
    asyncio.run(work({"payment": os.environ["PLAIN_PAYMENT"], "amount_cents": amount} if is_start else None))
