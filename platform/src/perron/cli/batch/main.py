"""The command `perron batch`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from perron.cli.batch.progress import BatchProgress
from perron.cli.batch.results import Counts, Results
from perron.cli.batch.source import Source
from perron.cli.batch.work import Batch
from perron.cli.failure import DONE, FAILED, WAITING
from perron.cli.options import AsJson
from perron.cli.output import duration, note, print_json, progress, say
from perron.cli.session import execute
from perron.core.platform import Platform
from perron.errors import InvalidInputError
from perron.runtime.inputs import check_input

app = typer.Typer()

_BREATH_ROWS = 200
"""Rows that are checked in one go; then a Ctrl-C is heard."""


@app.command()
def batch(
    agent: Annotated[str, typer.Argument(help="The agent's name: see `perron agents list`.")],
    file: Annotated[Path, typer.Argument(help="CSV, whose columns are the input's fields, or one input a line.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="Where the results go, one a line.")],
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=1000, help="Runs at once.")] = 16,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="[FIELD=]COLUMN", help="Columns to use, instead of all that fit."),
    ] = None,
    thread_column: Annotated[
        str | None,
        typer.Option("--thread-column", metavar="NAME", help="Rows with the same value here share a thread."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first rows.")] = None,
    as_json: AsJson = False,
) -> int:
    """Run an agent once for each row of a file, each on a thread of its own.

    Results are written as they come: row, run, thread, status, output, what waits for a person, error. Started
    again, also after it was killed, it goes on: the same agent, file and --out are the same batch, and no row of
    it is done twice.

    Exit code: 0 done, 1 a row failed, 3 a row waits for a person.
    """
    source = Source(file, tuple(column or ()), thread_column, limit)
    source.check()
    if out.exists() and out.samefile(file):
        raise InvalidInputError("--out names the file that is read: name another one.")

    async def work(platform: Platform) -> Summary:
        return await _run(platform, agent, source, out, concurrency)

    summary = execute(work, concurrency=concurrency)
    summary.show(out, as_json=as_json)
    return summary.exit_code


@dataclass(frozen=True, slots=True)
class Summary:
    """How a batch came out, with what was done in earlier starts."""

    rows: int
    counts: Counts
    held: int
    """Not begun: their thread waits for a person."""
    seconds: float
    per_s: float

    @property
    def exit_code(self) -> int:
        """As a single run's: what failed weighs more than what waits."""
        if self.counts.failed:
            return FAILED
        return WAITING if self.counts.waiting or self.held else DONE

    def show(self, out: Path, *, as_json: bool) -> None:
        """Print it."""
        if as_json:
            rest = {"held": self.held, "seconds": round(self.seconds, 3), "out": str(out)}
            print_json({"rows": self.rows, **asdict(self.counts), **rest})
            return
        counts = self.counts
        rate = f" ({self.per_s:.0f}/s)" if self.per_s else ""
        say(
            f"{self.rows:,} rows in {duration(self.seconds)}{rate}: {counts.done:,} done, "
            f"{counts.waiting:,} waiting for a person, {counts.failed:,} failed. Results: {out}"
        )
        if counts.waiting:
            say("  perron asks list")
        if counts.failed:
            say("  perron runs list --status error")
        if self.held:
            say(f"{self.held:,} more rows have not begun: a row before them in their thread waits for a person.")


async def _run(platform: Platform, agent: str, source: Source, out: Path, concurrency: int) -> Summary:
    platform.registry.get_agent(agent)
    schema = (await platform.agents.get(platform.caller, agent)).schemas.get("input")
    with progress(f"Checking {source.path} …") as status:
        total = await _check(platform, agent, source, schema, status.update)
        batch_id = await asyncio.to_thread(_batch_id, agent, source, out)
    with Results.open(out) as results:
        batch = Batch(platform, agent, results, batch_id=batch_id)
        await batch.check_results()
        if results.counts.total:
            note(f"{results.counts.total:,} of {total:,} rows have their result: going on with the others.")
        with BatchProgress(results.counts, total=total) as shown:
            try:
                await batch.run(source.rows(schema), concurrency=concurrency, on_change=shown.update)
            except BaseException:
                note("Nothing is lost: the same command goes on from here.")
                raise
        return Summary(total, results.counts, batch.held, shown.elapsed_s, shown.per_s)


async def _check(
    platform: Platform, agent: str, source: Source, schema: dict[str, Any] | None, tell: Callable[[str], None]
) -> int:
    """Count the rows; refuse the file before anything runs if there are none, or one of them does not fit."""
    declared = platform.registry.get_agent(agent)
    total = 0
    for row in source.rows(schema):
        try:
            await check_input(declared, row.input)
        except InvalidInputError as exc:
            raise InvalidInputError(f"{source.path} row {row.number:,}: {exc.message}", row=row.number) from None
        total = row.number
        if total % _BREATH_ROWS == 0:
            tell(f"Checking {source.path} … {total:,} rows")
            await asyncio.sleep(0)
    if not total:
        raise InvalidInputError(f"{source.path} has no rows: there is nothing to run.")
    return total


def _batch_id(agent: str, source: Source, out: Path) -> UUID:
    """Return the same id for the same agent, content and file of results."""
    identity = hashlib.sha256(repr((agent, source.digest(), str(out.resolve()))).encode())
    return UUID(bytes=identity.digest()[:16])
