"""`perron doctor`: check this installation and say what to do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from perron.cli.checks.database import check_health_of_database, check_server
from perron.cli.checks.finding import Finding
from perron.cli.checks.installation import (
    check_embedded,
    check_key,
    check_python,
    check_settings,
    check_webhooks,
)
from perron.cli.checks.outbound import check_outbound
from perron.cli.checks.plugins import check_agents, check_plugins
from perron.cli.checks.work import check_work
from perron.cli.configured import read_settings
from perron.cli.failure import DONE, FAILED
from perron.cli.loop import run_async
from perron.cli.options import AsJson
from perron.cli.output import console, plain, print_json, progress, say
from perron.configuration import PlatformSettings
from perron.core.opening import find_database
from perron.core.platform import Platform
from perron.errors import ConfigurationError, PerronError
from perron.plugins.loader import load_plugins

app = typer.Typer()

_MARKS = {"ok": ("✓", "green"), "note": ("·", ""), "warning": ("!", "yellow"), "broken": ("✗", "red")}


@app.command()
def doctor(as_json: AsJson = False) -> int:
    """Check Python, settings, database, plugins and work, and say where data leaves to.

    Exit code: 1 when something is broken.
    """

    async def work() -> list[Finding]:
        with progress("Looking …"):
            return [finding async for finding in _look()]

    findings = run_async(work)
    broken = sum(finding.state == "broken" for finding in findings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
        say(f"\n{broken} broken." if broken else "\nNothing is broken.")
    return FAILED if broken else DONE


async def _look() -> AsyncIterator[Finding]:
    for finding in check_python():
        yield finding
    try:
        settings = read_settings()
    except ConfigurationError as exc:
        yield Finding("settings", "broken", exc.message)
        return
    is_sound = True
    for finding in [
        *check_settings(settings),
        *check_key(settings),
        *check_webhooks(settings),
        *check_embedded(settings),
    ]:
        is_sound = is_sound and finding.state != "broken"
        yield finding
    if is_sound:
        async for finding in _look_at_database(settings):
            is_sound = is_sound and finding.state != "broken"
            yield finding
    async for finding in _look_inside(settings) if is_sound else _look_at_plugins(settings):
        yield finding


async def _look_at_database(settings: PlatformSettings) -> AsyncIterator[Finding]:
    try:
        async with find_database(settings) as (url, is_embedded):
            async for finding in check_server(settings, url, is_embedded=is_embedded):
                yield finding
    except PerronError as exc:
        yield Finding("database", "broken", exc.message)


async def _look_inside(settings: PlatformSettings) -> AsyncIterator[Finding]:
    """Look at an open platform: the best proof that one can be opened."""
    try:
        async with Platform.open(settings, worker=False) as platform:
            health = await platform.health.get(platform.caller)
            pauses = await platform.pauses.list_with_runs(platform.caller)
            agents = await platform.agents.list(platform.caller)
            views = await platform.live_settings.list(platform.caller)
            registry = platform.registry
    except PerronError as exc:
        yield Finding("platform", "broken", exc.message)
        return
    for finding in [
        *check_health_of_database(health),
        *check_plugins(registry),
        *check_agents(agents),
        *check_work(health, pauses),
        *check_outbound(os.environ, views),
    ]:
        yield finding


async def _look_at_plugins(settings: PlatformSettings) -> AsyncIterator[Finding]:
    """Look at what needs no database."""
    try:
        registry = await load_plugins(settings)
    except ConfigurationError as exc:
        yield Finding("plugins", "broken", exc.message)
        return
    for finding in [*check_plugins(registry), *check_outbound(os.environ, None)]:
        yield finding


def _print(findings: list[Finding]) -> None:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.state]
        text = Text(plain(finding.text))
        if finding.advice:
            text.append(f"\n→ {plain(finding.advice)}", style="italic")
        grid.add_row(Text(mark, style=style), finding.area, text)
    console().print(grid)
