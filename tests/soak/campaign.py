"""A campaign: a site of its own, load, faults, and the verdict."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.soak.faults import Trouble
from tests.soak.ledger import Ledger
from tests.soak.load import Load
from tests.soak.process import Cradle
from tests.soak.site import Scale, Site, until
from tests.soak.verdict import Verdict, judge

from perron.core.upgrade import upgrade_database
from perron.database.embedded import EmbeddedServer

WORKERS = 3
CLOCKS_AHEAD_S = (0.0, 30.0, -30.0)
"""Of the first three workers: what one of them writes another must find."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is under way."""

    site: Site
    load: Load
    trouble: Trouble

    async def end(self) -> Verdict:
        """Let the customers go, and judge."""
        await self.load.close()
        return await judge(self.site, self.load.accepted)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        directory: Path,
        ledger: Ledger,
        cradle: Cradle,
        *,
        seed: int,
        scale: Scale,
        threads: int,
        customers: int,
    ) -> AsyncIterator[Campaign]:
        """Open a site with a database server of its own, three workers and customers."""
        dice = random.Random(seed)
        async with EmbeddedServer.open(directory) as url:
            await upgrade_database(url)
            cluster = directory / "postgres"
            async with Site.open(url, directory, ledger, cradle, scale, cluster=cluster) as site:
                for clock_ahead_s in CLOCKS_AHEAD_S:
                    await site.start_worker(clock_ahead_s=clock_ahead_s)
                for worker in site.workers:
                    await until(partial(site.is_working, worker))
                load = Load(site, dice, threads=threads)
                load.open(customers)
                yield cls(site, load, Trouble(site, load, dice))
