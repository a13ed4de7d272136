"""Bytes per run: what LangGraph's own saver needs without Perron, and what Perron needs, in the same database.

(a) a stock `AsyncPostgresSaver`, `durability="sync"`
(b) `Platform.run`: runs, events and threads besides the same checkpoints

Tables, indexes and write-ahead log, each as the difference that the runs make; all on the embedded PostgreSQL
unless PERRON_DATABASE_URL is set. Tables grow by whole pages: take enough runs, and read the ratios.

    uv run python bench/storage.py [--runs 200] [--turns 200]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated, Any
from uuid import uuid4

from graphs import GRAPHS, look_up
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from typing_extensions import TypedDict

from perron import Agent, Platform
from perron.database.checkpoint_pool import CheckpointPool, open_checkpoint_pool

_TOKENS = 50
_SAID_BYTES = 350  # by each side: 700 a turn


def _added(messages: list[AnyMessage], writes: Sequence[list[AnyMessage]]) -> list[AnyMessage]:
    return [*messages, *(message for write in writes for message in write)]


class Deltas(TypedDict):
    """Messages of which each checkpoint has only what was added."""

    messages: Annotated[list[AnyMessage], DeltaChannel(_added)]


@dataclass(frozen=True)
class Case:
    """A graph, what its runs are given, and whether they are turns of one thread."""

    builder: Any
    given: Callable[[], dict[str, Any]]
    is_one_thread: bool = False


def _talk(state: Any) -> Any:
    async def answer(_: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(_said())]}

    builder: Any = StateGraph(state)
    return builder.add_node("answer", answer, input_schema=state).add_edge(START, "answer").add_edge("answer", END)


def _react() -> Any:
    """Return a graph that calls a tool, which a fake model cannot stream, and then says `_TOKENS` tokens."""

    async def model(state: MessagesState) -> dict[str, Any]:
        if not any(isinstance(message, ToolMessage) for message in state["messages"]):
            return {
                "messages": [AIMessage("", tool_calls=[{"name": "look_up", "args": {"city": "Basel"}, "id": "1"}])]
            }
        said = GenericFakeChatModel(messages=iter([AIMessage(" ".join(["word"] * (_TOKENS // 2)))]))
        return {"messages": [await said.ainvoke(state["messages"])]}

    def goes_on(state: MessagesState) -> str:
        return END if state["messages"][-1].content else "tools"

    builder = StateGraph(MessagesState).add_node("model", model).add_node("tools", ToolNode([look_up]))
    builder.add_edge(START, "model").add_edge("tools", "model")
    return builder.add_conditional_edges("model", goes_on, ["tools", END])


def _said() -> str:
    return token_urlsafe(_SAID_BYTES)[:_SAID_BYTES]  # what does not compress


def _turn() -> dict[str, Any]:
    return {"messages": [HumanMessage(_said())]}


CASES = {
    "one-node": Case(GRAPHS["one-node"].builder, GRAPHS["one-node"].given),
    "ten-nodes": Case(GRAPHS["ten-nodes"].builder, GRAPHS["ten-nodes"].given),
    f"react-{_TOKENS}-tokens": Case(_react(), GRAPHS["react"].given),
    "turns-of-700-B": Case(_talk(MessagesState), _turn, is_one_thread=True),
    "turns-DeltaChannel": Case(_talk(Deltas), _turn, is_one_thread=True),
}


@dataclass(frozen=True)
class Size:
    """Bytes, by what they are."""

    tables: int
    indexes: int
    wal: int

    def since(self, before: Size) -> Size:
        """Return what has come since."""
        return Size(self.tables - before.tables, self.indexes - before.indexes, self.wal - before.wal)

    def per(self, count: int) -> Size:
        """Return the share of each of so many."""
        return Size(self.tables // count, self.indexes // count, self.wal // count)

    @property
    def disk(self) -> int:
        """Tables with indexes."""
        return self.tables + self.indexes


async def measure(pool: CheckpointPool) -> Size:
    """Return what there is now."""
    query = """
        SELECT sum(pg_table_size(c.oid))::bigint AS tables, sum(pg_indexes_size(c.oid))::bigint AS indexes,
            pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('perron', 'langgraph', 'pgqueuer') AND c.relkind = 'r'
    """
    async with pool.connection() as connection:
        row = await (await connection.execute(query)).fetchone()
        assert row is not None
        return Size(row["tables"], row["indexes"], row["wal"])


async def main(runs: int, turns: int) -> None:
    """Measure all and print the table."""
    console = Console()
    agents = [Agent(name, case.builder) for name, case in CASES.items()]
    measured: dict[tuple[str, str], Size] = {}
    with tempfile.TemporaryDirectory() as home:
        async with Platform.open(home=Path(home), agents=agents, plugins="none", log_level="error") as platform:
            pool = await open_checkpoint_pool(platform.database_url)
            saver = AsyncPostgresSaver(pool)
            with Progress(console=console, transient=True) as progress:
                for name, case in CASES.items():
                    for variant, run in (("(a)", _stock(case, saver)), ("(b)", _perron(name, case, platform))):
                        count = turns if case.is_one_thread else runs
                        await run(str(uuid4()))  # warm
                        before, thread_id = await measure(pool), str(uuid4())
                        for _ in progress.track(range(count), description=f"{name} {variant}"):
                            await run(thread_id if case.is_one_thread else str(uuid4()))
                        spent = (await measure(pool)).since(before)
                        measured[name, variant] = spent.per(count)
            await pool.close()
    _print(console, measured)


def _stock(case: Case, saver: AsyncPostgresSaver) -> Callable[[str], Awaitable[None]]:
    graph = case.builder.compile(checkpointer=saver)

    async def run(thread_id: str) -> None:
        await graph.ainvoke(case.given(), {"configurable": {"thread_id": thread_id}}, durability="sync")

    return run


def _perron(name: str, case: Case, platform: Platform) -> Callable[[str], Awaitable[None]]:
    async def run(thread_id: str) -> None:
        options: dict[str, Any] = {"thread_id": thread_id, "if_not_exists": "create"}
        if "tokens" in name:
            options["stream_mode"] = ["messages", "updates"]
        (await platform.run(name, case.given(), **options)).raise_for_status()

    return run


def _print(console: Console, measured: dict[tuple[str, str], Size]) -> None:
    table = Table(
        "", "", "tables", "indexes", "WAL", "× (a) disk", "× (a) WAL", title="bench/storage.py, kB per run"
    )
    for (name, variant), size in measured.items():
        stock = measured[name, "(a)"]
        table.add_row(
            name if variant == "(a)" else "",
            variant,
            *(f"{each / 1000:,.1f}" for each in (size.tables, size.indexes, size.wal)),
            f"{size.disk / stock.disk:.2f}",
            f"{size.wal / stock.wal:.2f}",
            end_section=variant == "(b)",
        )
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs of each graph, each on a thread of its own")
    parser.add_argument("--turns", type=int, default=200, help="turns of the conversations")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.turns))
