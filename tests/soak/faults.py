"""What happens to a site: each fault strikes, and waits until what it has hit goes on."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial

import psycopg
from tests.conftest import KEY
from tests.soak.load import Load
from tests.soak.site import Site, Worker, until

DEADLY = (
    *("run.after_claim", "checkpoint.before", "checkpoint.after", "writes.before"),
    *("run.before_finish", "run.after_finish", "event.before"),
)
"""Fail points between two commits of a run."""


class Trouble:
    """Faults for one site, chosen by dice."""

    def __init__(self, site: Site, load: Load, dice: random.Random) -> None:
        self._site = site
        self._load = load
        self._dice = dice

    async def kill(self) -> None:
        """kill -9 of a worker, mostly in the middle of nodes."""
        kill = await self._site.kill(await self._busy_victim())
        await self._site.start_worker()
        await self._site.recovered(kill)

    async def kill_twice(self) -> None:
        """Kill one, and the next as soon as it has taken something over."""
        first = await self._site.kill(await self._busy_victim())
        await self._site.start_worker()
        await asyncio.sleep(self._dice.uniform(0, 1.5 * self._site.scale.lease_s))
        second = await self._site.kill(self._victim())
        await self._site.start_worker()
        await self._site.recovered(first, second)

    async def kill_between_commits(self) -> None:
        """Let a worker die between two transactions."""
        point = self._dice.choice(DEADLY)
        worker = await self._site.start_worker(failpoints=f"{point}=kill@{self._dice.randint(1, 8)}")
        await self._replaces_another(worker)
        with suppress(TimeoutError):
            async with asyncio.timeout(6 * self._site.scale.lease_s):
                await worker.process.wait()
        await self._site.recovered(await self._site.kill(worker))
        await self._site.start_worker()

    async def crash(self) -> None:
        """Stop the database server at once, as `pg_ctl stop -m immediate` does, for a while."""
        await self._site.crash(self._dice.choice(self._site.scale.outages_s))
        await self._goes_on()

    async def cut_listeners(self) -> None:
        await self._cut("query ILIKE 'LISTEN%' OR query ILIKE '%pgqueuer%'")

    async def cut_beats(self) -> None:
        await self._cut("application_name LIKE 'perron beat%'")

    async def cut_pools(self) -> None:
        await self._cut("application_name NOT LIKE 'perron beat%'")

    async def freeze(self) -> None:
        """SIGSTOP past the lease, and SIGCONT."""
        worker = await self._busy_victim()
        await self._site.freeze(worker)
        await asyncio.sleep(self._site.scale.freeze_s)
        self._site.thaw(worker)
        await self._goes_on()

    async def freeze_in_a_large_checkpoint(self) -> None:
        """The claim must not hang, and the next turn of the thread must find what was before."""
        swelling = await self._load.submit(does="swell")
        following = await self._load.submit(swelling.thread_id)

        async def is_held() -> bool:
            rows = await self._site.sql(
                "SELECT 1 FROM perron.runs WHERE worker_id IS NOT NULL AND run_id = %s", swelling.run_id
            )
            return bool(rows) and await self._site.ledger.has_ended(swelling.run_id, "second")

        await until(is_held)
        holder = await self._site.ledger.writer_of(swelling.run_id)
        worker = next((worker for worker in self._site.workers if worker.number == holder), None)
        if worker is not None:
            await asyncio.sleep(self._dice.uniform(0, 0.2))  # anywhere in the writing of 40 MB
            await self._site.freeze(worker)
            await self._load.join(swelling)
            await self._load.join(following)
            self._site.thaw(worker)

    async def block(self) -> None:
        """A node that blocks its loop for several leases: its worker keeps them."""
        blocking = await self._load.submit(does="block", blocks_s=self._site.scale.block_s)
        await self._load.join(blocking)

    async def drop_network(self) -> None:
        """Reset all connections of a worker, and refuse new ones past the lease."""
        worker = self._victim()
        await worker.proxy.close()
        await asyncio.sleep(self._dice.choice((0.1, self._site.scale.freeze_s)))
        await worker.proxy.open()
        await self._goes_on()

    async def hang_network(self) -> None:
        """Swallow all that a worker and the database say, past the lease; then deliver it, or never."""
        worker = self._victim()
        worker.proxy.hang()
        await asyncio.sleep(self._site.scale.freeze_s)
        self._dice.choice((worker.proxy.flow, worker.proxy.forget))()
        await self._goes_on()
        worker.proxy.flow()

    async def slow_network(self) -> None:
        """Let each packet of a worker take its time."""
        worker = self._victim()
        worker.proxy.delay_s = 0.05
        await asyncio.sleep(self._site.scale.freeze_s)
        worker.proxy.delay_s = 0

    async def cut_client(self) -> None:
        """Reset all connections of the client."""
        await self._site.proxy.close()
        await asyncio.sleep(0.2)
        await self._site.proxy.open()

    async def exhaust_connections(self) -> None:
        """Take all connections that the server has, while a worker with pools of one needs new ones."""
        worker = await self._site.start_worker(pool_size="1", checkpoint_pool_size="1", concurrency="8")
        await self._replaces_another(worker)
        async with AsyncExitStack() as stack:
            first = await psycopg.AsyncConnection.connect(self._site.url, autocommit=True)
            stack.push_async_callback(first.close)
            with suppress(psycopg.OperationalError):
                while True:
                    connection = await psycopg.AsyncConnection.connect(self._site.url, autocommit=True)
                    stack.push_async_callback(connection.close)
            await first.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'perron%'"
            )
            await asyncio.sleep(self._site.scale.lease_s)
        await self._goes_on()

    async def poison(self) -> None:
        """A run that kills its worker every time ends as an error, and nothing beside it does."""
        poison = await self._load.submit(does="kill")
        poison.endings = ("error",)
        ending = asyncio.create_task(self._load.join(poison))
        while not ending.done():
            dead = [worker for worker in self._site.workers if worker.process.returncode is not None]
            for worker in dead:
                await self._site.kill(worker)
                await self._site.start_worker()
            await asyncio.wait([ending], timeout=0.05)
        await ending

    async def upgrade_at_once(self) -> None:
        """Eight processes run `perron db upgrade` under load."""
        log = self._site.directory / "upgrade.log"
        environment = {"PERRON_DATABASE_URL": self._site.url, "PERRON_KEY": KEY, "PERRON_PLUGINS": "none"}
        upgrades = [
            await self._site.cradle.start("db", "upgrade", environment=environment, log=log) for _ in range(8)
        ]
        codes = [await upgrade.wait() for upgrade in upgrades]
        if any(codes):
            self._load.complaints.append(f"eight upgrades at once ended with {codes}: see {log}")

    async def restart_all(self) -> None:
        """Replace all workers with SIGTERM, one after the other, as a rolling release does."""
        for worker in list(self._site.workers):
            successor = await self._site.start_worker()
            await until(partial(self._site.is_working, successor))
            worker.process.send_signal(signal.SIGTERM)
            if code := await worker.process.wait():
                self._load.complaints.append(f"worker {worker.number} drained with exit code {code}")
            await self._site.bury(worker)

    def _victim(self) -> Worker:
        return self._dice.choice(self._site.workers)

    async def _busy_victim(self) -> Worker:
        """Wait until some worker is in the middle of a node."""
        victim: Worker | None = None

        async def is_found() -> bool:
            nonlocal victim
            worker = self._victim()
            if await self._site.ledger.in_hand(worker.number):
                victim = worker
            return victim is not None

        await until(is_found)
        assert victim is not None
        return victim

    async def _cut(self, which: str) -> None:
        await self._site.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'perron%%'"
            f" AND pid <> pg_backend_pid() AND ({which.replace('%', '%%')})"
        )
        await self._goes_on()

    async def _replaces_another(self, worker: Worker) -> None:
        victim = next(each for each in self._site.workers if each is not worker)
        victim.process.send_signal(signal.SIGTERM)
        await self._site.bury(victim)

    async def _goes_on(self) -> None:
        """Wait until nodes begin again."""
        seen = await self._site.ledger.count()

        async def has_more() -> bool:
            return await self._site.ledger.count() > seen + len(self._site.workers)

        await until(has_more)


Fault = Callable[[Trouble], Coroutine[None, None, None]]

FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        *(Trouble.kill, Trouble.kill_twice, Trouble.kill_between_commits, Trouble.crash),
        *(Trouble.cut_listeners, Trouble.cut_beats, Trouble.cut_pools, Trouble.cut_client),
        *(Trouble.freeze, Trouble.freeze_in_a_large_checkpoint, Trouble.block),
        *(Trouble.drop_network, Trouble.hang_network, Trouble.slow_network, Trouble.exhaust_connections),
        *(Trouble.poison, Trouble.upgrade_at_once, Trouble.restart_all),
    )
}
