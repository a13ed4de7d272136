"""The command `perron demo`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from perron.cli.configured import read_settings
from perron.cli.demo.curtain import show_database, show_next
from perron.cli.demo.desk import Desk, check_installed
from perron.cli.demo.everyday import work_through_inbox
from perron.cli.demo.killing import kill_in_between
from perron.cli.demo.place import environment, temporary_home
from perron.cli.demo.recovery import ask_person, take_over
from perron.cli.demo.stage import Stage
from perron.cli.loop import run_async
from perron.cli.options import AsJson
from perron.cli.output import duration, print_json
from perron.core.platform import Platform

app = typer.Typer()

_ACTS = 6


@app.command()
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the database where it is, to look around in.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a bank's agent work, be killed with kill -9 at the worst moment, and do nothing twice.

    Starts a PostgreSQL and an API of its own in a temporary directory, needs no key, and takes less than a minute.
    """
    check_installed()
    stage = Stage(acts=_ACTS, is_silent=as_json)
    report = run_async(lambda: _play(stage, keep=keep))
    if as_json:
        print_json(report)


async def _play(stage: Stage, *, keep: bool) -> dict[str, Any]:
    with temporary_home(keep=keep) as home:
        async with _opened(stage, home) as (platform, desk):
            rows = await work_through_inbox(platform, stage)
            killed = await kill_in_between(platform, desk, stage, home)
            refunds = await take_over(platform, desk, stage, killed)
            message = await ask_person(platform, desk, stage, killed)
            await show_database(platform, desk, stage, killed, plain=refunds.plain)
            book = await desk.counts()
        show_next(stage, home, refunds.run_id, is_kept=keep)
        stage.tell("")
        stage.tell(f"That took {duration(stage.elapsed_s)}.")
        return {
            "requests": rows,
            "refunds": asdict(refunds),
            "message": asdict(message),
            "book": book,
            "seconds": round(stage.elapsed_s, 1),
            "home": str(home / ".perron") if keep else None,
        }


@asynccontextmanager
async def _opened(stage: Stage, home: Path) -> AsyncIterator[tuple[Platform, Desk]]:
    """Start the desk and open a platform that is connected with it."""
    async with AsyncExitStack() as stack:
        with stage.working("Starting PostgreSQL and the desk"):
            desk = await stack.enter_async_context(Desk.start(home))
            stack.enter_context(environment(_variables(home, desk)))
            platform = await stack.enter_async_context(Platform.open(read_settings()))
        stage.tell(f"PostgreSQL and the desk ({desk.url}) run in {home}.")
        yield platform, desk


def _variables(home: Path, desk: Desk) -> dict[str, str]:
    return {
        "PERRON_HOME": str(home / ".perron"),
        "PERRON_PLUGINS": "desk",
        "PERRON_LOG_LEVEL": "warning",
        "PERRON_POLL_S": "0.2",
        "PERRON_CONNECTION_DESK": desk.token,
        "PERRON_INTEGRATION_DESK__BASE_URL": desk.url,
        "LANGSMITH_TRACING": "false",
    }
