"""Platforms on a database of a test's own; the database itself comes from `perron.testing.plugin`."""

from __future__ import annotations

import asyncio
import base64
import operator
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import psycopg
import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from psycopg.rows import DictRow, dict_row
from tests.proxy import proxy as proxy
from tests.soak.process import Cradle
from typing_extensions import TypedDict

from perron.core.platform import Platform
from perron.plugins.agent import Agent

KEY = base64.b64encode(bytes(range(32))).decode()


class State(TypedDict, total=False):
    """A text, and what has happened in order."""

    text: str
    log: Annotated[list[str], operator.add]


def chain(*nodes: Callable[[State], Any], name: str = "agent") -> Agent:
    """Make an agent of nodes that run one after the other, each under its function's name."""
    builder = StateGraph(State)
    names = [node.__name__ for node in nodes]
    for node in nodes:
        builder.add_node(node.__name__, RunnableLambda(node))
    for before, after in pairwise([START, *names, END]):
        builder.add_edge(before, after)
    return Agent(name, builder)


class Deployment:
    """A database and the platforms that a test opens on it, each as another process would."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self._home = home
        self._stack = AsyncExitStack()

    async def open(self, *agents: Agent, **options: Any) -> Platform:
        """Open a platform with these agents and a short lease; it is closed when the test ends."""
        settings = {
            "database_url": self.url,
            "plugins": "none",
            "key": KEY,
            "home": self._home,
            "lease_s": 1.0,
            "poll_s": 0.05,
            "pool_size": 2,
            "max_overflow": 10,
            "drain_s": 2.0,
            **options,
        }
        return await self._stack.enter_async_context(Platform.open(agents=agents, **settings))

    def connect(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection[DictRow]]:
        """Open a connection past all of Perron."""
        return _connect(self.url)

    async def waits_for_a_lock(self) -> None:
        """Return when a connection of the database waits for another one's lock."""
        async with self.connect() as connection:
            while True:
                cursor = await connection.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
                if await cursor.fetchone():
                    return

    async def sql(self, statement: str, *arguments: object) -> list[DictRow]:
        """Run a statement past all of Perron, and return its rows."""
        async with self.connect() as connection:
            cursor = await connection.execute(statement, arguments)
            return await cursor.fetchall() if cursor.description else []

    async def declare_dead(self, platform: Platform) -> None:
        """Take a platform's worker for dead, as another does when its lease is out."""
        assert platform._worker is not None
        await self.sql("DELETE FROM perron.workers WHERE worker_id = %s", platform._worker.worker_id)

    async def close(self) -> None:
        await self._stack.aclose()


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


async def until(condition: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


@pytest.fixture
async def deployment(database_url: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A fresh database and what is opened on it."""
    deployment = Deployment(database_url, tmp_path)
    try:
        yield deployment
    finally:
        await deployment.close()


@pytest.fixture(scope="session")
async def cradle() -> AsyncIterator[Cradle]:
    """Where `perron` processes are forked from one that has imported everything."""
    async with Cradle.open() as cradle:
        yield cradle
