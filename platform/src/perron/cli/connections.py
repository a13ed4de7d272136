"""`perron connections`: accounts of integrations."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from perron.cli.group import new_group
from perron.cli.options import AsJson
from perron.cli.output import print_fields, print_json, print_rows, say
from perron.cli.pauses import paused
from perron.cli.session import read
from perron.core.platform import Platform
from perron.errors import ConfigurationError
from perron.models.connection import SHARED, Connection

app = new_group("Connections: accounts of integrations.")

Integration = Annotated[str, typer.Argument(metavar="INTEGRATION", help="The integration's key.")]
Name = Annotated[str | None, typer.Option("--name", help="Which one, where an integration has several.")]


@app.command()
def add(
    integration: Integration,
    from_env: Annotated[
        str,
        typer.Option("--from-env", metavar="VAR", help="The environment variable that holds the token, or JSON."),
    ],
    name: Annotated[str, typer.Option("--name", help="A name, where an integration has several.")] = "default",
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="PRINCIPAL", help="Whose runs use it; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check credentials with the API and keep them, sealed. A command line would show them to others."""

    async def work(platform: Platform) -> tuple[Connection, str]:
        platform.connections.integration(integration)  # what is wrong with that comes first
        credentials = os.environ.get(from_env, "")
        if not credentials.strip():
            raise ConfigurationError(f"The environment variable {from_env} is not set, or empty.")
        row = await platform.connections.add(platform.caller, integration, credentials, name=name, owner=owner)
        return row, await platform.connections.address_of(platform.caller, integration)

    row, address = read(work)
    if as_json:
        print_json(_row(row))
    else:
        say(f"Connected {row.integration} as {row.account_label or row.account_id or row.name} at {address}.")


@app.command("list")
def list_connections(as_json: AsJson = False) -> None:
    """List connections; those of configuration too."""

    async def work(platform: Platform) -> list[dict[str, Any]]:
        pauses = await platform.pauses.list(platform.caller)
        rows = [_row(row) for row in await platform.connections.list(platform.caller)]
        rows += [_configured(key) for key in platform.connections.configured()]
        return [{**row, "paused": paused("connection", _pausable(row), pauses)} for row in rows]

    rows = read(work)
    print_rows(
        rows if as_json else [_shown(row) for row in rows],
        {"integration": "integration", "name": "name", "account": "account", "state": "state", "for": "owner",
         "added": "created_at"},
        as_json=as_json,
        empty="No connection yet: `perron connections add INTEGRATION --from-env VAR`.",
    )  # fmt: skip


@app.command()
def show(integration: Integration, name: Name = None, as_json: AsJson = False) -> None:
    """Show a connection, never its credentials."""
    row = read(lambda platform: platform.connections.show(platform.caller, integration, name=name))
    print_fields(_row(row), as_json=as_json)


@app.command()
def check(integration: Integration, name: Name = None, as_json: AsJson = False) -> None:
    """Ask the API whether it still accepts a connection."""
    row = read(lambda platform: platform.connections.check(platform.caller, integration, name=name))
    if as_json:
        print_json(_row(row))
    else:
        say(f"{row.integration} accepts it: {row.account_label or row.account_id or row.name}.")


@app.command()
def remove(integration: Integration, name: Name = None, as_json: AsJson = False) -> None:
    """Delete a connection and its credentials."""
    row = read(lambda platform: platform.connections.remove(platform.caller, integration, name=name))
    if as_json:
        print_json(_row(row))
    else:
        say(f"Removed the connection {row.name} of {row.integration}.")


def _row(row: Connection) -> dict[str, Any]:
    return {
        "connection_id": row.connection_id,
        "integration": row.integration,
        "name": row.name,
        "owner": "everybody" if row.owner == SHARED else row.owner,
        "account_id": row.account_id,
        "account": row.account_label or row.account_id,
        "state": row.state,
        "reason": row.reason,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _pausable(row: dict[str, Any]) -> str:
    return f"{row['integration']}/{row['name']}"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    pause = row["paused"]
    return row if pause is None else {**row, "state": f"paused: {pause['reason']}"}


def _configured(key: str) -> dict[str, Any]:
    return {
        "connection_id": None,
        "integration": key,
        "name": "from configuration",
        "owner": "everybody",
        "account_id": None,
        "account": None,
        "state": "configured",
        "reason": None,
        "created_at": None,
        "updated_at": None,
    }
