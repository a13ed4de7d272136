"""Commands that plugins add by their hook `perron_commands`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from perron.cli.configured import read_settings
from perron.cli.output import note
from perron.plugins.calling import add_commands
from perron.plugins.loader import import_plugins


def plugin_commands() -> Sequence[Any]:
    """Import the plugins and return their commands; one that fails is told of, and the others stay.

    Raises:
        ConfigurationError: PERRON_PLUGINS or PERRON_PLUGINS_DENY names what is not installed.
    """
    registry = import_plugins(read_settings())
    app = typer.Typer()
    add_commands(registry, app)
    for plugin in registry.plugins:
        if plugin.state == "failed":
            note(f"The plugin {plugin.name} adds no commands: {plugin.error}")
    return list(typer.main.get_group(app).commands.values())
