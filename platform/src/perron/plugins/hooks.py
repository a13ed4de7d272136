"""Every hook of Perron. A plugin implements those it wants, each decorated with `@hookimpl`."""

# Specifications are never called, so that they return nothing:
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

import pluggy

from perron.plugins.agent import Agent

PROJECT = "perron"

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of its name."""

hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def perron_agents() -> Sequence[Agent] | Awaitable[Sequence[Agent]]:
    """Return the plugin's agents.

    Fires once in each process, when a platform opens, after all plugins are imported. May be async.
    """


@hookspec
def perron_integrations() -> Sequence[type] | Awaitable[Sequence[type]]:
    """Return the plugin's integrations: subclasses of `Integration`, not instances.

    Fires once in each process, when a platform opens, after all plugins are imported. May be async.
    """


@hookspec
def perron_startup(host: Any) -> Awaitable[None] | None:
    """Prepare what the plugin holds while the platform is open.

    Fires when the database is open and agents and integrations are registered, before the first run starts.
    `host` is the `Platform`. An async implementation runs on the platform's event loop, any other in a thread.
    """


@hookspec
def perron_shutdown(host: Any) -> Awaitable[None] | None:
    """Give back what `perron_startup` took.

    Fires when the platform closes: no run is executing any more, the database is still open.
    """


@hookspec
def perron_commands(cli: Any) -> None:
    """Add commands to the command line.

    Fires when the `perron` command line is built, in its main thread and before any platform is open. `cli` is
    its `typer.Typer`: use `@cli.command()` or `cli.add_typer(...)`.
    """
