"""`perron plugins`: what is installed, and what failed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from perron.cli.configured import read_settings
from perron.cli.group import new_group
from perron.cli.loop import run_async
from perron.cli.options import AsJson
from perron.cli.output import print_fields, print_rows
from perron.cli.plugin_commands import plugin_commands
from perron.plugins.loader import load_plugins
from perron.plugins.registry import PluginState, Registry

app = new_group("Plugins: what is installed, and what failed.")


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List the installed plugins. Needs no database."""
    print_rows(
        [_row(plugin) for plugin in load().plugins],
        {"plugin": "name", "state": "state", "from": "distribution", "version": "version", "error": "error"},
        as_json=as_json,
        empty="No plugin is installed. `pip install` one that has an entry point in the group perron.plugins.",
    )


@app.command()
def show(name: Annotated[str, typer.Argument(help="The plugin's name.")], as_json: AsJson = False) -> None:
    """Show a plugin and what it brings."""
    registry = load()
    plugin = registry.get_plugin(name)
    brings = {
        "agents": [agent.name for agent in registry.agents.values() if agent.plugin is plugin],
        "integrations": [key for key, source in registry.integration_sources.items() if source is plugin],
        "load_ms": plugin.load_ms,
    }
    print_fields({**_row(plugin), **brings}, as_json=as_json)


@app.command()
def commands(as_json: AsJson = False) -> None:
    """List the commands that plugins add to `perron`."""
    rows = [{"command": f"perron {added.name}", "help": added.get_short_help_str()} for added in plugin_commands()]
    print_rows(
        rows, {"command": "command", "what it does": "help"}, as_json=as_json, empty="No plugin adds commands."
    )


def load() -> Registry:
    """Import the plugins and ask them for what they bring, without a platform."""

    async def work() -> Registry:
        return await load_plugins(read_settings())

    return run_async(work)


def _row(plugin: PluginState) -> dict[str, Any]:
    row = asdict(plugin)
    return {key: row[key] for key in ("name", "distribution", "version", "state", "error")}
