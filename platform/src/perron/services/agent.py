"""Rules of agents: what was found at the start becomes rows that every process can read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import AgentError, AgentNotFoundError
from perron.ids import system_assistant_id
from perron.models.agent import Agent
from perron.plugins.agent import Agent as PluginAgent
from perron.plugins.registry import RegisteredAgent, Registry
from perron.repositories.agent import AgentRepository
from perron.repositories.assistant import AssistantRepository
from perron.runtime.agent_schemas import graph_schemas
from perron.runtime.drawing import draw_mermaid, draw_text
from perron.runtime.graph import open_graph

_IDENTITY = ("description", "distribution", "version", "entry_point", "uses")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph for people to look at."""

    mermaid: str
    text: str


class AgentService:
    """Agents; the same for all tenants."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registry: Registry | None = None

    async def register(self, registry: Registry, *, caller: Caller | None = None) -> None:
        """Write down this process's agents, each with a system assistant; those that are gone become `missing`.

        Writes only what has changed, and is safe in several processes at once. A factory is called only when its
        agent is new or another version: it may open connections. One that cannot be built is `failed` with the
        reason, and tried again by each run.
        """
        self._registry = registry
        caller = caller or Caller.system()
        async with self._database.begin() as session:
            known = {row.graph_id: row for row in await AgentRepository(session, caller).get_sorted()}
        rows = [
            await _row(registered, known.get(name), registry.timeout_s)
            for name, registered in sorted(registry.agents.items())
        ]
        changed = [row for row in rows if _differs(known.get(row["graph_id"]), row)]
        gone = [name for name, row in known.items() if name not in registry.agents and row.state != "missing"]

        # The assistants first: an agent whose row stands is not looked at again.
        if changed:
            ids: dict[UUID, str] = {system_assistant_id(row["graph_id"]): row["graph_id"] for row in changed}
            await self._database.run(lambda session: AssistantRepository(session, caller).create_system(ids))
        if changed or gone:
            await self._database.run(lambda session: AgentRepository(session, caller).replace(changed, gone))

    async def list(self, caller: Caller) -> Sequence[Agent]:
        """Return all agents, by name."""
        async with self._database.begin() as session:
            return await AgentRepository(session, caller).get_sorted()

    async def get(self, caller: Caller, name: str) -> Agent:
        """Return an agent.

        Raises:
            AgentNotFoundError: Nobody has ever brought one of this name.
        """
        rows = {row.graph_id: row for row in await self.list(caller)}
        if name not in rows:
            raise AgentNotFoundError(name, rows)
        return rows[name]

    async def draw(self, caller: Caller, name: str) -> Drawing:
        """Draw an agent's graph.

        Raises:
            AgentNotFoundError: Nobody has ever brought one of this name.
            AgentError: It is not loaded in this process, or its graph cannot be built.
        """
        row = await self.get(caller, name)
        if self._registry is None or name not in self._registry.agents:
            raise AgentError(
                f"The agent {name!r} is {row.state}: this process has no graph of it to draw.", agent=name
            )
        async with open_graph(self._registry.get_agent(name), access="assistants.read") as graph:
            return Drawing(mermaid=draw_mermaid(graph), text=draw_text(graph))


_schemas: WeakKeyDictionary[PluginAgent, Mapping[str, Any]] = WeakKeyDictionary()
"""Derived in this process already: it takes a tenth of a second for each agent, at each opening."""


async def _row(registered: RegisteredAgent, known: Agent | None, timeout_s: float) -> dict[str, Any]:
    agent = registered.agent
    row: dict[str, Any] = {
        "graph_id": registered.name,
        "description": agent.description if agent else known.description if known else "",
        "distribution": registered.distribution,
        "version": registered.version,
        "entry_point": registered.entry_point,
        "uses": sorted(agent.grants or ()) if agent else [],
        "schemas": known.schemas if known else {},
        "state": registered.state,
        "error": registered.error,
    }
    if agent is None:
        return row
    is_factory = callable(agent.build)
    if is_factory and known and known.state == "loaded" and all(getattr(known, n) == row[n] for n in _IDENTITY):
        schemas: Mapping[str, Any] = row["schemas"]
    elif agent in _schemas:
        schemas = _schemas[agent]
    else:
        try:
            async with asyncio.timeout(timeout_s), open_graph(agent, access="assistants.read") as graph:
                schemas = _schemas[agent] = graph_schemas(graph)
        except AgentError as exc:
            row["state"], row["error"], schemas = "failed", exc.message, {}
        except TimeoutError:
            row["state"], schemas = "failed", {}
            row["error"] = (
                f"The agent {agent.name!r} cannot be built: its factory took longer than {timeout_s:g} s."
            )
    settings = agent.settings.model_json_schema() if agent.settings else None
    row["schemas"] = {**schemas, "settings": settings}
    return row


def _differs(known: Agent | None, row: dict[str, Any]) -> bool:
    return known is None or any(getattr(known, name) != value for name, value in row.items())
