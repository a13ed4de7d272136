"""The soak: faults at random under load, with the default settings; exit code 1 when a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tests.soak.campaign import Campaign
from tests.soak.faults import FAULTS
from tests.soak.ledger import Ledger
from tests.soak.process import Cradle
from tests.soak.site import Scale

from perron.database.embedded import EmbeddedServer

RECOVERY_S = 15.0
_LINE_EVERY_S = 30.0
_MOST_SHOWN = 20


async def soak(console: Console, directory: Path, *, seed: int, minutes: float, faults: list[str]) -> bool:
    """Print the verdict and return whether all promises were kept."""
    async with (
        EmbeddedServer.open(directory / "ledger") as ledger_url,
        Ledger.open(ledger_url) as ledger,
        Cradle.open() as cradle,
        Campaign.open(
            directory / "site", ledger, cradle, seed=seed, scale=Scale(), threads=30, customers=10
        ) as campaign,
    ):
        await _strike(
            console, campaign, random.Random(seed), end_at=time.monotonic() + 60 * minutes, faults=faults
        )
        verdict = await campaign.end()
    for problem in verdict.problems[:_MOST_SHOWN]:
        console.print(problem, style="red")
    is_late = verdict.recovery_p99_s > RECOVERY_S
    if is_late:
        console.print(f"Work went on later than {RECOVERY_S:g} s after a kill.", style="red")
    console.print(str(verdict), style="bold")
    return not verdict.problems and not is_late


async def _strike(
    console: Console, campaign: Campaign, dice: random.Random, *, end_at: float, faults: list[str]
) -> None:
    """Let one fault follow the other, each of them once before any comes again."""
    began_at = told_at = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=end_at - began_at, counts="")
        left: list[str] = []
        while time.monotonic() < end_at:
            left = left or dice.sample(faults, len(faults))
            name = left.pop()
            striking = asyncio.create_task(FAULTS[name](campaign.trouble), name=name)
            while not striking.done():
                await asyncio.wait([striking], timeout=0.25)
                counts = f"{campaign.load.ended:,} of {len(campaign.load.accepted):,} runs"
                passed_s = time.monotonic() - began_at
                bar.update(task, description=name, completed=passed_s, counts=counts)
                if not console.is_terminal and time.monotonic() - told_at > _LINE_EVERY_S:
                    told_at = time.monotonic()
                    console.print(f"{passed_s:5.0f} s  {counts}, now {name}")
            striking.result()


def main() -> int:
    """Take the command line's word for seed, time and faults."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--faults", default=",".join(FAULTS), help="Some of: %(default)s")
    given = parser.parse_args()
    if unknown := set(given.faults.split(",")) - FAULTS.keys():
        parser.error(f"There is no fault {', '.join(sorted(unknown))}. There are {', '.join(FAULTS)}.")
    console = Console()
    directory = Path(tempfile.mkdtemp(prefix="perron-soak-"))
    console.print(f"SEED={given.seed} MINUTES={given.minutes:g}, in {directory}")
    is_kept = asyncio.run(
        soak(console, directory, seed=given.seed, minutes=given.minutes, faults=given.faults.split(","))
    )
    if is_kept:
        shutil.rmtree(directory)
    else:
        console.print(f"The workers' logs and both databases are in {directory}.")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
