"""`perron agents`: what can be run here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from perron.cli.failure import DONE, FAILED
from perron.cli.group import new_group
from perron.cli.options import AsJson
from perron.cli.output import print_fields, print_json, print_rows, say
from perron.cli.pauses import paused
from perron.cli.session import read
from perron.core.platform import Platform
from perron.errors import AgentError
from perron.models.agent import Agent
from perron.models.pause import Pause
from perron.services.agent import Drawing

app = new_group("Agents: what can be run here.")


@app.command("list")
def list_agents(as_json: AsJson = False) -> None:
    """List the agents that were found, loaded or not."""

    async def work(platform: Platform) -> tuple[Sequence[Agent], Sequence[Pause]]:
        return await platform.agents.list(platform.caller), await platform.pauses.list(platform.caller)

    agents, pauses = read(work)
    print_rows(
        [_row(agent, pauses) if as_json else _shown(agent, pauses) for agent in agents],
        {"agent": "name", "state": "state", "from": "source", "version": "version", "description": "shown"},
        as_json=as_json,
        empty="No agent yet: install one, or write a langgraph.json and name it with `perron --config FILE …`.",
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The agent's name.")],
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Print the graph as Mermaid, and nothing else.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show an agent: where it comes from, what it takes, and its graph."""

    async def work(platform: Platform) -> tuple[Agent, Drawing | None, Sequence[Pause]]:
        agent = await platform.agents.get(platform.caller, name)
        drawing = await platform.agents.draw(platform.caller, name) if agent.state == "loaded" else None
        return agent, drawing, await platform.pauses.list(platform.caller)

    agent, drawing, pauses = read(work)
    if as_json:
        drawn = {"mermaid": drawing.mermaid, "text": drawing.text} if drawing else None
        print_json({**_row(agent, pauses), "schemas": agent.schemas, "graph": drawn})
    elif mermaid:
        if drawing is None:
            raise AgentError(f"The agent {name!r} has no graph to draw: {_problem(agent)}")
        say(drawing.mermaid)
    else:
        print_fields(
            {
                **_row(agent, pauses),
                "error": _problem(agent),
                "input": _fields(agent, "input"),
                "settings": _fields(agent, "settings"),
            },
            as_json=False,
        )
        if drawing:
            say(f"\n{drawing.text}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="The agent's name.")],
    as_json: AsJson = False,
) -> int:
    """Look for threads that wait where the agent, as it is installed now, cannot go on: gone nodes and operations.

    Exit code: 1 when there are some.
    """

    async def work(platform: Platform) -> list[dict[str, Any]]:
        return [asdict(missing) async for missing in platform.agent_checks.check(platform.caller, name)]

    rows = read(work)
    print_rows(
        rows,
        {"gone": "name", "is a": "kind", "thread": "thread_id", "call": "call_id", "what to do": "advice"},
        as_json=as_json,
        empty=f"Every waiting thread of {name} can go on with the version that is installed.",
    )
    return FAILED if rows else DONE


def _row(agent: Agent, pauses: Sequence[Pause]) -> dict[str, Any]:
    return {
        "name": agent.graph_id,
        "description": agent.description,
        "distribution": agent.distribution,
        "version": agent.version,
        "entry_point": agent.entry_point,
        "uses": agent.uses,
        "state": agent.state,
        "error": agent.error,
        "paused": paused("agent", agent.graph_id, pauses),
    }


def _shown(agent: Agent, pauses: Sequence[Pause]) -> dict[str, Any]:
    row = _row(agent, pauses)
    if pause := row["paused"]:
        row.update(state="paused", description=f"paused: {pause['reason']}")
    return {
        **row,
        "source": agent.distribution or agent.entry_point,
        "shown": _problem(agent) or row["description"],
    }


def _problem(agent: Agent) -> str | None:
    """Return why the agent cannot be run here."""
    return "it is not installed any more." if agent.state == "missing" else agent.error


def _fields(agent: Agent, kind: str) -> str | None:
    """Return the names and types of a schema's fields."""
    properties = ((agent.schemas or {}).get(kind) or {}).get("properties") or {}
    return ", ".join(f"{name} ({field.get('type', 'any')})" for name, field in properties.items()) or None
