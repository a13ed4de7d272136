"""Agents of hooks, entry points and arguments."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from perron.configuration import load_settings
from perron.errors import AgentError, AgentNotFoundError, DefinitionError
from perron.plugins.agent import Agent
from perron.plugins.loader import load_plugins

AGENTS = """
    from perron.plugins.agent import Agent

    def factory(config): ...

    agent = Agent("declared", factory, description="As declared.")
    number = 5
"""
HOOKED = """
    from perron.plugins.agent import Agent
    from perron.plugins.hooks import hookimpl

    @hookimpl
    def perron_agents():
        return [Agent("declared", lambda: None), Agent("other", lambda: None)]
"""

Site = Any  # the fixture's class lies in conftest.py


def test_an_entry_point_is_an_agent_or_what_builds_one(site: Site) -> None:
    site.install(
        "acme-agents",
        files={"acme_agents.py": AGENTS},
        agents="""
            plain = acme_agents:factory
            named = acme_agents:agent
            number = acme_agents:number
            absent = acme_agents:nothing
        """,
    )

    agents = site.load()["agents"]

    assert agents["plain"] == {
        "name": "plain",
        "distribution": "acme-agents",
        "version": "1.0",
        "entry_point": "acme_agents:factory",
        "state": "loaded",
        "error": None,
    }
    assert agents["declared"]["state"] == "loaded"
    assert "it is of type int: neither a graph, nor a factory, nor an Agent" in agents["number"]["error"]
    assert "AttributeError: module 'acme_agents' has no attribute 'nothing'" in agents["absent"]["error"]


def test_an_agents_entry_point_can_be_denied(site: Site) -> None:
    site.install(
        "acme-agents", files={"acme_agents.py": "raise ImportError"}, agents="plain = acme_agents:factory"
    )

    found = site.load(PERRON_PLUGINS_DENY="acme-agents")

    assert found["agents"]["plain"]["state"] == "denied"


def test_one_name_from_two_distributions_is_refused_and_names_both(site: Site) -> None:
    site.install("acme-agents", files={"acme_agents.py": AGENTS}, agents="named = acme_agents:agent")
    site.install("acme-hooked", files={"hooked_plugin.py": HOOKED}, plugins="hooked = hooked_plugin")

    found = site.load()

    clash = "The agent 'declared' is brought by acme-agents and acme-hooked"
    assert found["agents"]["declared"]["state"] == "failed"
    assert clash in found["agents"]["declared"]["error"]
    assert found["plugins"]["hooked"]["state"] == "failed"
    assert clash in found["plugins"]["hooked"]["error"]
    assert found["agents"]["other"]["state"] == "failed"


async def test_an_agent_of_the_caller_needs_no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERRON_PLUGINS", "none")
    mine = Agent("mine", lambda: None)

    registry = await load_plugins(load_settings(), agents=[mine])

    assert registry.get_agent("mine") is mine
    with pytest.raises(AgentNotFoundError, match="Did you mean 'mine'"):
        registry.get_agent("mime")


async def test_two_agents_of_the_caller_with_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="Two agents are called 'mine'"):
        await load_plugins(load_settings(), agents=[Agent("mine", print), Agent("mine", print)])


async def test_an_agent_that_failed_says_why_when_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = await load_plugins(load_settings(), agents=[Agent("mine", print)])
    registered = registry.agents["mine"]
    registered.agent, registered.state, registered.error = None, "failed", "It has no file."

    with pytest.raises(AgentError, match=r"The agent 'mine' is not loaded: It has no file\."):
        registry.get_agent("mine")


class Secretive(BaseModel):
    token: SecretStr = SecretStr("")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"name": "../up"}, "cannot be called"),
        ({"name": "a", "settings": dict}, "no pydantic model"),
        ({"name": "a", "settings": Secretive}, "The setting 'token' of agent 'a' is a secret"),
        ({"name": "a", "uses": [print]}, "neither an operation nor an effect"),
    ],
)
def test_a_wrong_declaration_is_refused_at_once(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        Agent(build=print, **arguments)
