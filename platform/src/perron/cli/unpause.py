"""`perron unpause`: let what was paused go on."""

from __future__ import annotations

from typing import Annotated

import typer

from perron.cli.group import new_group
from perron.cli.output import say
from perron.cli.session import read
from perron.models.pause import PauseKind

app = new_group("Let what was paused go on.")


@app.command()
def agent(name: Annotated[str, typer.Argument(help="The agent's name.")]) -> None:
    """Let an agent's runs go on."""
    _unpause("agent", name)


@app.command()
def integration(key: Annotated[str, typer.Argument(help="The integration's key.")]) -> None:
    """Let an integration's calls be begun again."""
    _unpause("integration", key)


@app.command()
def connection(
    name: Annotated[str, typer.Argument(metavar="INTEGRATION/NAME", help="The connection.")],
) -> None:
    """Let calls over a connection be begun again."""
    _unpause("connection", name)


@app.command("all")
def everything() -> None:
    """Take back `perron pause all`; what is paused by itself stays so."""
    _unpause("all", "")


def _unpause(kind: PauseKind, name: str) -> None:
    read(lambda platform: platform.pauses.unpause(platform.caller, kind, name))
    say("Runs that waited for it are taken up at the workers' next look.")
