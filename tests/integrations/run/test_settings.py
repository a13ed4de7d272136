"""`settings(Config)` inside a run."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from pydantic import BaseModel

from perron.caller import Caller
from perron.errors import OutsidePlatformError
from perron.integrations.run.settings import settings
from perron.plugins.agent import Agent

Deployment = Any  # the fixture's class lies in conftest.py


class Config(BaseModel):
    limit_cents: int = 5_000


class Other(BaseModel):
    colour: str = "blue"


class State(TypedDict):
    seen: int


def agent(config: type[BaseModel], **options: Any) -> Agent:
    """Make an agent whose one node looks at its settings."""
    graph = StateGraph(State)
    graph.add_node("look", lambda _: {"seen": getattr(settings(config), "limit_cents", 0)})
    graph.add_edge(START, "look")
    return Agent("looker", graph, **options)


async def test_a_node_sees_the_values_that_its_run_was_created_with(deployment: Deployment) -> None:
    platform = await deployment.open(agent(Config, settings=Config))
    first = await platform.run("looker", {"seen": 0})

    await platform.live_settings.set(Caller.system(), "agent.looker.limit_cents", "100")
    second = await platform.run("looker", {"seen": 0})

    assert (first.output, second.output) == ({"seen": 5_000}, {"seen": 100})


@pytest.mark.parametrize("options", [{"settings": Other}, {}])
async def test_settings_that_the_agent_is_not_declared_with_are_refused(
    deployment: Deployment, options: dict[str, Any]
) -> None:
    platform = await deployment.open(agent(Config, **options))

    run = await platform.run("looker", {"seen": 0})

    assert run.status == "error"
    assert "The agent 'looker' has no settings Config" in str(run.error)


def test_outside_a_run_it_names_the_way_in() -> None:
    with pytest.raises(OutsidePlatformError, match=r"Platform\.run"):
        settings(Config)
