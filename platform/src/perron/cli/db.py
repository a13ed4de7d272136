"""`perron db`: the database's schema."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from perron.cli.configured import read_settings
from perron.cli.failure import FAILED
from perron.cli.group import new_group
from perron.cli.loop import run_async
from perron.cli.output import progress, say
from perron.configuration import PlatformSettings
from perron.core.opening import find_database
from perron.core.upgrade import check_database, schemas_of, upgrade_database
from perron.database.upgrade import downgrade as take_back
from perron.database.url import DatabaseUrl

app = new_group("The database's schema.")


@dataclass(frozen=True, slots=True)
class _Named:
    """A database as people know it."""

    name: str
    is_embedded: bool


@app.command()
def upgrade() -> None:
    """Bring all tables to this release. Safe beside other processes that do the same."""

    async def work(url: DatabaseUrl, settings: PlatformSettings) -> None:
        await upgrade_database(url, **schemas_of(settings))

    say(f"{_on_database('Upgrading …', work).name} is up to date.")


@app.command()
def check() -> None:
    """Say whether this release can work on the database; exit code 1 when not."""

    async def work(url: DatabaseUrl, settings: PlatformSettings) -> None:
        await check_database(url, **schemas_of(settings))

    say(f"{_on_database('Checking …', work).name} fits this release.")


@app.command()
def downgrade(
    revision: Annotated[
        str, typer.Argument(help="-1 is one step back; a revision; base: remove our tables.")
    ] = "-1",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take our tables back to an earlier revision; what only the later ones hold is lost."""
    if not yes:
        _ask_before_losing()

    async def work(url: DatabaseUrl, settings: PlatformSettings) -> None:
        await take_back(url, revision, schema=settings.database_schema, langgraph_schema=settings.langgraph_schema)

    done = _on_database("Taking back …", work)
    say(f"{done.name} is at the earlier revision.")
    if done.is_embedded:
        say("It is upgraded again when this release next starts it: go on with the earlier release.")


def _ask_before_losing() -> None:
    if not typer.confirm("What only the later tables hold will be lost. Go on?", err=True):
        say("Nothing was changed.")
        raise typer.Exit(FAILED)


def _on_database(text: str, work: Callable[[DatabaseUrl, PlatformSettings], Awaitable[None]]) -> _Named:
    """Do something on the database, past a pooler, and say which it is."""

    async def main() -> _Named:
        settings = read_settings()
        with progress(text) as status:
            async with find_database(settings, on_event=status.update) as (url, is_embedded):
                direct = settings.database_direct_url
                direct_url = DatabaseUrl.parse(direct.get_secret_value()) if direct else url
                await work(direct_url, settings)
                where = f"in {settings.home}" if is_embedded else f"at {direct_url.shown}"
                return _Named(f"The database {where}", is_embedded)

    return run_async(main)
