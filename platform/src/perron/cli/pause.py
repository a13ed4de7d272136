"""`perron pause`: stop agents, integrations and connections for a while."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perron.cli.group import new_group
from perron.cli.options import AsJson
from perron.cli.output import print_json, print_rows, say
from perron.cli.pauses import pause_row, unpause_command
from perron.cli.session import read
from perron.models.pause import PauseKind
from perron.services.pause import PauseView

app = new_group("Pause agents, integrations, connections or all: runs wait, nothing is lost.")

Reason = Annotated[str, typer.Option("--reason", help="Why: the lists and `perron doctor` show it.")]


@app.command()
def agent(
    name: Annotated[str, typer.Argument(help="The agent's name.")], reason: Reason, as_json: AsJson = False
) -> None:
    """Keep an agent's runs in line; those that are under way go back there at their next step."""
    _pause("agent", name, reason, as_json=as_json)


@app.command()
def integration(
    key: Annotated[str, typer.Argument(help="The integration's key.")], reason: Reason, as_json: AsJson = False
) -> None:
    """Begin no call of an integration: a run that comes to one goes back in line before it."""
    _pause("integration", key, reason, as_json=as_json)


@app.command()
def connection(
    name: Annotated[str, typer.Argument(metavar="INTEGRATION/NAME", help="The connection.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Begin no call over a connection: a run that comes to one goes back in line before it."""
    _pause("connection", name, reason, as_json=as_json)


@app.command("all")
def everything(reason: Reason, as_json: AsJson = False) -> None:
    """Keep the runs of all agents in line."""
    _pause("all", "", reason, as_json=as_json)


@app.command("list")
def list_pauses(as_json: AsJson = False) -> None:
    """List what is paused, and how many runs wait for it."""
    views = read(lambda platform: platform.pauses.list_with_runs(platform.caller))
    print_rows(
        [_row(view) if as_json else {**_row(view), "subject": view.pause.subject} for view in views],
        {"paused": "subject", "since": "since", "by": "paused_by", "runs waiting": "runs", "reason": "reason"},
        as_json=as_json,
        empty='Nothing is paused. `perron pause agent NAME --reason "…"` pauses an agent.',
    )


def _pause(kind: PauseKind, name: str, reason: str, *, as_json: bool) -> None:
    pause = read(lambda platform: platform.pauses.pause(platform.caller, kind, name, reason=reason))
    if as_json:
        print_json(pause_row(pause))
    else:
        say(f"Paused {pause.subject}. `{unpause_command(pause)}` lets it go on.")


def _row(view: PauseView) -> dict[str, Any]:
    return {**pause_row(view.pause), "runs": view.runs}
