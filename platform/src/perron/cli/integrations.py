"""`perron integrations`: the APIs that agents may call."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perron.cli.group import new_group
from perron.cli.options import AsJson
from perron.cli.output import print_fields, print_json, print_rows, say
from perron.cli.pauses import paused
from perron.cli.plugins import load
from perron.cli.session import read
from perron.core.platform import Platform
from perron.errors import UnknownNameError
from perron.integrations.operations.operation import Declared, operations_of
from perron.plugins.registry import Registry

app = new_group("Integrations: the APIs that agents may call.")


@app.command("list")
def list_integrations(as_json: AsJson = False) -> None:
    """List the integrations of all plugins, and which of them are paused."""

    async def work(platform: Platform) -> list[dict[str, Any]]:
        pauses = await platform.pauses.list(platform.caller)
        keys = platform.registry.integrations
        return [{**_row(platform.registry, key), "paused": paused("integration", key, pauses)} for key in keys]

    rows = read(work)
    print_rows(
        rows if as_json else [{**row, "paused": row["paused"] and row["paused"]["reason"]} for row in rows],
        {"integration": "key", "title": "title", "operations": "operations", "from": "distribution",
         "paused": "paused"},
        as_json=as_json,
        empty="No integration is installed: `perron plugins list` shows the plugins and what failed.",
    )  # fmt: skip


@app.command()
def show(key: Annotated[str, typer.Argument(help="The integration's key.")], as_json: AsJson = False) -> None:
    """Show an integration: its operations, settings and credentials."""
    registry = load()
    if key not in registry.integrations:
        raise UnknownNameError("integration", key, registry.integrations)
    integration: Any = registry.integrations[key]
    operations = [_operation(each) for each in operations_of(integration).values()]
    credentials = integration.credentials_type
    fields = {
        **_row(registry, key),
        "settings": list(integration.settings_type.model_fields),
        "credentials": list(credentials.model_fields) if credentials else [],
    }
    if as_json:
        print_json({**fields, "operations": operations})
        return
    print_fields({name: value for name, value in fields.items() if name != "operations"}, as_json=False)
    say("")
    columns = {"operation": "key", "effect": "effect", "when repeated": "repeat", "what it does": "summary"}
    print_rows(operations, columns, as_json=False, empty="It has no operations.")


def _row(registry: Registry, key: str) -> dict[str, Any]:
    integration: Any = registry.integrations[key]
    source = registry.integration_sources.get(key)
    return {
        "key": key,
        "title": integration.title,
        "operations": len(operations_of(integration)),
        "plugin": source.name if source else None,
        "distribution": source.distribution if source else None,
        "version": source.version if source else None,
    }


def _operation(operation: Declared) -> dict[str, Any]:
    return {
        "key": operation.key,
        "effect": operation.effect,
        "repeat": operation.repeat.name if operation.repeat else None,
        "summary": operation.description.strip().partition("\n")[0],
        "description": operation.description,
        "arguments": operation.arguments.model_json_schema(),
    }
