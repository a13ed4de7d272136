"""The commands by name, each imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("perron.cli.run", "Run an agent and show what comes out."),
    "answer": ("perron.cli.answer", "Answer an ask, and let its run go on."),
    "batch": ("perron.cli.batch.main", "Run an agent over the rows of a file."),
    "demo": ("perron.cli.demo.main", "Watch runs being killed, and nothing being done twice."),
    "worker": ("perron.cli.worker", "Execute runs that others create, until told to stop."),
    "agents": ("perron.cli.agents", "Agents: what can be run here."),
    "plugins": ("perron.cli.plugins", "Plugins: what is installed, and what failed."),
    "integrations": ("perron.cli.integrations", "Integrations: the APIs that agents may call."),
    "connections": ("perron.cli.connections", "Connections: accounts of integrations."),
    "threads": ("perron.cli.threads", "Threads: state, history and owner."),
    "runs": ("perron.cli.runs", "Runs: what happened, and what goes on."),
    "asks": ("perron.cli.asks", "Asks: what waits for a person."),
    "calls": ("perron.cli.calls", "Calls: the journal of what was sent to APIs."),
    "crons": ("perron.cli.crons", "Crons: runs that are created by the clock."),
    "webhooks": ("perron.cli.webhooks", "Webhooks: who was told of the ends of runs."),
    "settings": ("perron.cli.settings", "Settings that change while the platform runs."),
    "workers": ("perron.cli.workers", "Workers: the processes that execute runs."),
    "pause": ("perron.cli.pause", "Pause agents, integrations, connections or all: runs wait, nothing is lost."),
    "unpause": ("perron.cli.unpause", "Let what was paused go on."),
    "db": ("perron.cli.db", "The database's schema."),
    "doctor": ("perron.cli.doctor", "Check this installation and say what to do."),
}
"""Name → the module that has it as `app`, and its line in `perron --help`."""


class Module(Protocol):
    """A module of a command: a Typer app with one command, or with several as a group."""

    app: typer.Typer


class Commands(TyperGroup):
    """Imports a command's module when that command is used.

    `perron --help`, shell completion and usage errors answer at once: the modules bring LangGraph, which takes
    a second or two to import. Plugins are imported only for a command that is not one of ours.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, text) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=text))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the arguments begin with."""
        name = args[0]
        if name in COMMANDS:
            module = cast("Module", import_module(COMMANDS[name][0]))
            command = typer.main.get_command(module.app)
            command.name = name
            return name, command, args[1:]
        if not name.startswith("-"):
            for added in import_module("perron.cli.plugin_commands").plugin_commands():
                self.add_command(added)
        return super().resolve_command(ctx, args)
