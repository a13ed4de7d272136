"""`perron threads prune`: threads that go, or keep their newest state only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, cast, get_args

import typer

from perron.cli.age import as_age
from perron.cli.bar import batches
from perron.cli.identity import as_uuid
from perron.cli.options import AsJson
from perron.cli.output import print_json, print_rows, say
from perron.cli.session import read
from perron.core.platform import Platform
from perron.errors import InvalidInputError
from perron.models.thread import PruneStrategy
from perron.services.pruning import BATCH, Pruned

Strategy = Annotated[
    str,
    typer.Option("--strategy", metavar="delete|keep_latest", help="The threads, or all but their latest state."),
]


def prune(
    threads: Annotated[list[str] | None, typer.Argument(metavar="THREAD", help="Ids of threads.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="All not updated for so long: 30d, 12h, 90m.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="All that are idle, interrupted or error.")
    ] = None,
    strategy: Strategy = "delete",
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Those too that wait for a person, or stand in the middle.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of them.")] = False,
    as_json: AsJson = False,
) -> int:
    """Delete threads, or all but their latest state.

    A thread with a run in line, or with a cron that has not ended, stays as it is.

    Exit code 1: a thread that was named stays.
    """
    if strategy not in get_args(PruneStrategy):
        raise InvalidInputError(f"--strategy takes delete or keep_latest, not {strategy!r}.")
    if bool(threads) == (older_than is not None or status is not None):
        raise InvalidInputError("Name threads, or say which: --older-than AGE, --status STATUS.")
    named = [as_uuid(thread, "thread") for thread in threads or ()]
    age = as_age(older_than, option="older-than") if older_than is not None else None

    async def work(platform: Platform) -> list[Pruned]:
        found = named or await platform.pruning.find(platform.caller, status=status, older_than=age)
        pruned: list[Pruned] = []
        for batch in batches(found, BATCH, doing="Looking" if dry_run else "Pruning"):
            pruned += await platform.pruning.prune(
                platform.caller,
                batch,
                strategy=cast("PruneStrategy", strategy),
                status=status,
                older_than=age,
                waiting=waiting,
                dry_run=dry_run,
            )
        return pruned

    pruned = read(work)
    kept = [each for each in pruned if each.kept is not None]
    if as_json:
        print_json(
            {"pruned": len(pruned) - len(kept), "dry_run": dry_run, "kept": [asdict(each) for each in kept]}
        )
    else:
        say(_summary(len(pruned) - len(kept), strategy=strategy, dry_run=dry_run))
        if kept:
            rows = [asdict(each) for each in kept]
            print_rows(rows, {"stays": "thread_id", "why": "kept"}, as_json=False, empty="")
    return 1 if named and kept else 0


def _summary(count: int, *, strategy: str, dry_run: bool) -> str:
    threads = "1 thread" if count == 1 else f"{count:,} threads"
    if strategy == "delete":
        return f"{threads} would be deleted." if dry_run else f"{threads} deleted."
    return (
        f"{threads} would keep the latest state only." if dry_run else f"{threads}: only the latest state is left."
    )
