"""The promise about runs in `docs/guarantees.md`: under each fault of the soak, and after a process comes back."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from tests.soak.campaign import Campaign
from tests.soak.faults import FAULTS
from tests.soak.ledger import Ledger
from tests.soak.load import Load
from tests.soak.process import Cradle
from tests.soak.site import Scale, Site, Worker, until

SCALE = Scale(lease_s=1.0, beat_s=0.25, poll_s=0.2, node_s=0.1, outages_s=(0.2, 1.5))
RECOVERY_S = 15.0
RUNS = 200


@pytest.fixture(scope="module")
async def cradle() -> AsyncIterator[Cradle]:
    async with Cradle.open() as cradle:
        yield cradle


@pytest.fixture
async def ledger(empty_database: str) -> AsyncIterator[Ledger]:
    async with Ledger.open(empty_database) as ledger:
        yield ledger


@pytest.mark.timeout(400)  # a minute, where nobody else needs the machine
async def test_nothing_is_lost_or_doubled_or_out_of_order_whatever_happens(
    cradle: Cradle, ledger: Ledger, tmp_path: Path
) -> None:
    opening = Campaign.open(tmp_path, ledger, cradle, seed=20261123, scale=SCALE, threads=12, customers=8)
    async with opening as campaign:
        for fault in FAULTS.values():
            await fault(campaign.trouble)

        async def has_enough() -> bool:
            return len(campaign.load.accepted) >= RUNS

        await until(has_enough)
        verdict = await campaign.end()

    assert verdict.problems == [], str(verdict)
    assert campaign.load.complaints == []
    assert verdict.done == verdict.accepted >= RUNS
    assert 0 < verdict.recovery_p99_s < RECOVERY_S


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
