"""The verdict of the soak says so where a safeguard of the promise about runs in `docs/guarantees.md` is off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import pytest
from tests.soak.ledger import Ledger
from tests.soak.load import Load
from tests.soak.process import Cradle
from tests.soak.site import Scale, Site, until
from tests.soak.verdict import Verdict, judge

from perron.database.url import DatabaseUrl
from perron.testing.database import new_database

SCALE = Scale(lease_s=1.0, beat_s=0.25, poll_s=0.2, node_s=0.1, outages_s=(0.2, 1.5))


Control = Callable[[Site, Load], Awaitable[None]]


async def without_a_fence(site: Site, load: Load) -> None:
    """A frozen worker's run is finished by another, and so is the next of its thread; then it is thawed.

    Its next beat tells it that it is lost. That may be faster than what its node has to write: hence some tries.
    """
    for _ in range(6):
        zombie = await site.start_worker(failpoints="fence=off,lease=off", poll_s="60")
        run = await load.submit(takes_s=0.5)
        await until(partial(has_begun, site, run.run_id))
        await site.freeze(zombie)
        successor = await site.start_worker()
        await load.join(run)
        await load.join(await load.submit(run.thread_id))

        seen = await site.sql("SELECT count(*) FROM langgraph.checkpoints")
        site.thaw(zombie)
        try:
            async with asyncio.timeout(3):
                while await site.sql("SELECT count(*) FROM langgraph.checkpoints") == seen:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            for worker in (zombie, successor):
                await site.kill(worker)
        else:
            return


async def without_liveness(site: Site, load: Load) -> None:
    """Live workers take their runs from each other; some runs have no attempt left before they overlap."""
    await weaken_claim(site, "AND w.beat_at <= clock_timestamp() - make_interval(secs => w.lease_s)", "")
    for _ in range(2):
        await site.start_worker(failpoints="liveness=off")
    for _ in range(6):
        await load.join(await load.submit(does="block", blocks_s=3.0))
        if (await judge(site, load.accepted)).overlap:
            return


async def without_a_line(site: Site, load: Load) -> None:
    """Workers take what is behind a thread's running run, too."""
    await weaken_claim(site, "ORDER BY r.seq LIMIT 1", "AND r.run_id = wanted")
    first = await load.submit(takes_s=0.5)
    second = await load.submit(first.thread_id)
    await site.start_worker(failpoints="head=off")
    for run in (first, second):
        await load.join(run)


async def without_input_applied(site: Site, load: Load) -> None:
    """A command is given again to the worker that takes over."""
    dying = await site.start_worker(failpoints="input=off")
    run = await load.tell(takes_s=0.5)
    await until(partial(has_begun, site, run.run_id))
    await site.kill(dying)
    await site.start_worker(failpoints="input=off")
    await load.join(run)


async def without_bell_and_sweep(site: Site, load: Load) -> None:
    """Nobody hears of a run, and nobody looks."""
    worker = await site.start_worker(failpoints="bell=off,sweep=off")
    await until(partial(site.is_working, worker))
    await load.submit()
    await asyncio.sleep(2 * site.scale.lease_s)


async def without_an_event(site: Site, load: Load) -> None:
    """One is taken away."""
    await site.start_worker()
    run = await load.submit()
    await load.join(run)
    await site.sql("DELETE FROM perron.run_events WHERE run_id = %s AND n = 2", run.run_id)


CONTROLS: dict[str, tuple[Control, Callable[[Verdict], object]]] = {
    "fence": (without_a_fence, lambda verdict: verdict.lost),
    "liveness": (without_liveness, lambda verdict: verdict.overlap),
    "head": (without_a_line, lambda verdict: verdict.overlap),
    "input": (without_input_applied, lambda verdict: verdict.dup),
    "bell,sweep": (without_bell_and_sweep, lambda verdict: verdict.lost),
    "event": (without_an_event, lambda verdict: verdict.gaps),
}


@pytest.fixture(scope="module")
async def verdicts(
    cradle: Cradle,
    postgres_server: DatabaseUrl,
    upgraded_template: DatabaseUrl,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[str, asyncio.Task[Verdict]]]:
    """The verdicts of all controls, which play beside each other: they mostly wait."""

    async def play(name: str) -> Verdict:
        control, _ = CONTROLS[name]
        directory = tmp_path_factory.mktemp("control")
        async with AsyncExitStack() as stack:
            urls = [
                await asyncio.to_thread(stack.enter_context, new_database(postgres_server, template=template))
                for template in (upgraded_template, None)
            ]
            url, ledger_url = (each.full for each in urls)
            ledger = await stack.enter_async_context(Ledger.open(ledger_url))
            site = await stack.enter_async_context(Site.open(url, directory, ledger, cradle, SCALE))
            load = Load(site, random.Random(), threads=1)
            await control(site, load)
            return await judge(site, load.accepted)

    tasks = {name: asyncio.create_task(play(name), name=name) for name in CONTROLS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("safeguard", CONTROLS)
async def test_without_a_safeguard_the_verdict_says_so(
    verdicts: dict[str, asyncio.Task[Verdict]], safeguard: str
) -> None:
    verdict = await verdicts[safeguard]

    assert CONTROLS[safeguard][1](verdict), str(verdict)


async def weaken_claim(site: Site, condition: str, instead: str) -> None:
    """Take a condition out of the function that claims: it is the last to look."""
    [row] = await site.sql("SELECT pg_get_functiondef('perron.claim_run'::regproc) AS source")
    assert condition in row["source"]
    await site.sql(row["source"].replace(condition, instead))


async def has_begun(site: Site, run_id: object, times: int = 1) -> bool:
    entries = await site.ledger.entries()
    return sum(entry.run_id == run_id for entry in entries) >= times
