"""A process that was frozen, missed and replaced comes back: it begins no node."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import psutil
from tests.soak.ledger import Ledger
from tests.soak.load import Load
from tests.soak.process import Cradle
from tests.soak.site import Scale, Site, Worker, until

SCALE = Scale(lease_s=1.0, beat_s=0.25, poll_s=0.2, node_s=0.1, outages_s=(0.2, 1.5))


async def test_a_process_that_was_missed_begins_no_node(
    cradle: Cradle, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    """It is frozen between the checkpoint of a step and the next node, and thawed when another has finished."""
    async with Site.open(database_url, tmp_path, ledger, cradle, SCALE) as site:
        load = Load(site, random.Random(), threads=1)
        frozen = await site.start_worker(failpoints="checkpoint.after=stop@2")
        run = await load.submit()
        await until(partial(has_stopped, frozen))
        await site.start_worker()
        assert (await load.join(run)).status == "success"
        before = await site.ledger.entries()

        site.thaw(frozen)
        await until(partial(site.is_working, frozen))  # under a new id

        assert await site.ledger.entries() == before
        assert {entry.worker for entry in before if entry.node == "third"} != {frozen.number}


async def has_stopped(worker: Worker) -> bool:
    return psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED
