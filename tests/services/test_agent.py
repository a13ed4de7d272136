"""Agents and plugins as rows, and the system's assistants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypedDict
from uuid import uuid4

import pluggy
import pytest
from langgraph.graph import START, StateGraph
from pydantic import BaseModel

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import AgentError, AgentNotFoundError, AssistantNotFoundError, PluginNotFoundError
from perron.ids import system_assistant_id
from perron.plugins.agent import Agent
from perron.plugins.registry import PluginState, RegisteredAgent, Registry
from perron.services.agent import AgentService
from perron.services.assistant import AssistantService
from perron.services.plugin import PluginService

SYSTEM = Caller.system()


class State(TypedDict):
    said: str


class Config(BaseModel):
    limit: int = 5


def builder() -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    graph.add_node("speak", lambda _: {"said": "hello"})
    graph.add_edge(START, "speak")
    return graph


def registry_of(*agents: RegisteredAgent, plugins: tuple[PluginState, ...] = ()) -> Registry:
    registry = Registry(pluggy.PluginManager("perron"), timeout_s=1, plugins=list(plugins))
    registry.agents = {agent.name: agent for agent in agents}
    return registry


def registered(name: str, build: Any = None, *, version: str = "1.0", **options: Any) -> RegisteredAgent:
    agent = Agent(name, build or builder(), description="Says hello.", **options)
    return RegisteredAgent(name, agent, "acme-agents", version, f"acme:{name}")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def test_a_registered_agent_is_a_row_with_its_schemas_and_a_system_assistant(database: Database) -> None:
    await AgentService(database).register(registry_of(registered("hello", settings=Config)))

    row = await AgentService(database).get(SYSTEM, "hello")
    assistant = await AssistantService(database).get(SYSTEM, "hello")

    assert (row.state, row.distribution, row.version, row.entry_point) == (
        "loaded",
        "acme-agents",
        "1.0",
        "acme:hello",
    )
    assert row.description == "Says hello."
    assert row.schemas["input"]["properties"] == {"said": {"title": "Said", "type": "string"}}
    assert row.schemas["settings"]["properties"]["limit"]["default"] == 5
    assert assistant.assistant_id == system_assistant_id("hello")
    assert (assistant.graph_id, assistant.name, assistant.metadata_) == (
        "hello",
        "hello",
        {"created_by": "system"},
    )
    assert [version.version for version in assistant.versions] == [1]


async def test_registering_again_writes_nothing_until_something_changes(database: Database) -> None:
    service = AgentService(database)
    await service.register(registry_of(registered("hello"), registered("other")))
    before = {row.graph_id: row.updated_at for row in await service.list(SYSTEM)}

    await service.register(registry_of(registered("hello"), registered("other", version="1.1")))

    after = {row.graph_id: row.updated_at for row in await service.list(SYSTEM)}
    assert after["hello"] == before["hello"]
    assert after["other"] > before["other"]


async def test_a_factory_is_called_for_a_new_version_alone(database: Database) -> None:
    calls: list[str] = []

    def build() -> Any:
        calls.append("called")
        return builder()

    service = AgentService(database)
    await service.register(registry_of(registered("hello", build)))
    await service.register(registry_of(registered("hello", build)))
    assert len(calls) == 1

    await service.register(registry_of(registered("hello", build, version="1.1")))
    assert len(calls) == 2


async def test_an_agent_that_nobody_brings_any_more_is_missing_until_it_comes_back(database: Database) -> None:
    service = AgentService(database)
    await service.register(registry_of(registered("hello")))

    await service.register(registry_of())
    assert (await service.get(SYSTEM, "hello")).state == "missing"

    await service.register(registry_of(registered("hello")))
    assert (await service.get(SYSTEM, "hello")).state == "loaded"


async def hanging() -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("build", "reason"),
    [(lambda: 1 / 0, "ZeroDivisionError"), (lambda: 5, "has no graph"), (hanging, "took longer than 1 s")],
)
async def test_an_agent_that_cannot_be_built_is_a_row_with_the_reason(
    database: Database, build: Any, reason: str
) -> None:
    service = AgentService(database)

    await service.register(registry_of(registered("broken", build), registered("hello")))

    broken = await service.get(SYSTEM, "broken")
    assert broken.state == "failed"
    assert reason in (broken.error or "")
    assert (await service.get(SYSTEM, "hello")).state == "loaded"


async def test_processes_that_register_at_once_do_not_get_in_each_others_way(database_url: str) -> None:
    names = [f"agent-{n}" for n in range(8)]

    async def process(order: list[str]) -> None:
        database = Database(database_url)
        await AgentService(database).register(registry_of(*[registered(name) for name in order]))
        await PluginService(database).register(registry_of(plugins=(PluginState("p", "d", "1"),)))
        await database.close()

    await asyncio.gather(*[process(names if n % 2 else names[::-1]) for n in range(6)])

    database = Database(database_url)
    rows = await AgentService(database).list(SYSTEM)
    assistants = await AssistantService(database).search(SYSTEM, limit=100)
    await database.close()
    assert [row.graph_id for row in rows] == names
    assert {assistant.graph_id for assistant in assistants} == set(names)


async def test_a_drawing_needs_the_graph_in_this_process(database: Database) -> None:
    service = AgentService(database)
    await service.register(registry_of(registered("hello")))

    assert (await service.draw(SYSTEM, "hello")).text == "start → speak\nspeak → end"
    with pytest.raises(AgentError, match="this process has no graph of it"):
        await AgentService(database).draw(SYSTEM, "hello")


async def test_unknown_names_are_answered_with_the_nearest(database: Database) -> None:
    await AgentService(database).register(registry_of(registered("triage")))
    await PluginService(database).register(registry_of(plugins=(PluginState("desk", "perron-desk", "1"),)))

    with pytest.raises(AgentNotFoundError, match="Did you mean 'triage'"):
        await AgentService(database).get(SYSTEM, "triag")
    with pytest.raises(AgentNotFoundError, match="Did you mean 'triage'"):
        await AssistantService(database).get(SYSTEM, "triag")
    with pytest.raises(AssistantNotFoundError):
        await AssistantService(database).get(SYSTEM, uuid4())
    with pytest.raises(PluginNotFoundError, match="Did you mean 'desk'"):
        await PluginService(database).get(SYSTEM, "dessk")


async def test_a_system_assistant_is_everybodys(database: Database) -> None:
    await AgentService(database).register(registry_of(registered("hello")))

    assistant = await AssistantService(database).get(Caller("ada"), "hello")

    assert assistant.owner == "system"


async def test_plugins_are_rows_until_they_are_uninstalled(database: Database) -> None:
    service = PluginService(database)
    failed = PluginState("mail", "acme-mail", "2.0", state="failed", error="It raised.", load_ms=3)
    await service.register(registry_of(plugins=(failed, PluginState("desk", "perron-desk", "1"))))

    row = await service.get(SYSTEM, "mail")
    assert (row.distribution, row.version, row.state, row.error, row.load_ms) == (
        "acme-mail",
        "2.0",
        "failed",
        "It raised.",
        3,
    )

    await service.register(registry_of(plugins=(PluginState("desk", "perron-desk", "1"),)))
    assert [plugin.name for plugin in await service.list(SYSTEM)] == ["desk"]


async def test_an_open_platform_has_written_down_what_is_installed(deployment: Any) -> None:
    platform = await deployment.open(Agent("mine", builder()))

    assert {row.name for row in await platform.plugins.list(SYSTEM)} == {p.name for p in platform.registry.plugins}
    assert {row.graph_id for row in await platform.agents.list(SYSTEM)} == set(platform.registry.agents)
