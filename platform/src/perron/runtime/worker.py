"""A worker: what one process does to execute runs, from its row and its lease to the last drained run."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version

import structlog

from perron import clock, failpoints
from perron.caller import Caller
from perron.configuration import names_in
from perron.database.outage import is_outage
from perron.database.partitions import ensure_partitions
from perron.database.url import DatabaseUrl
from perron.dispatch.dispatcher import Dispatcher
from perron.errors import DatabaseUnavailableError
from perron.ids import RunId, ThreadId, WorkerId, next_worker_id, process_of
from perron.models.worker import Worker as WorkerRow
from perron.repositories.run import RunRepository
from perron.repositories.worker import WorkerRepository
from perron.runtime.claim import SUSPECT_ATTEMPT, ClaimedRun, claim, release
from perron.runtime.execution import Execution, Services
from perron.runtime.finish import Outcome
from perron.runtime.lease import Lease
from perron.runtime.readers import rings

log = structlog.get_logger(__name__)

_DAY_S = 86_400.0
_STRAY_S = 2.0
"""How long a run may be this worker's before it starts to execute."""


class Worker:
    """Claims due runs and executes them on this loop, up to `concurrency` at once.

    It hears of them from the dispatcher, and looks for them each `poll_s` besides: for those of dead workers, and
    where a bell was lost.
    """

    def __init__(self, shared: Services, *, url: DatabaseUrl, worker_id: WorkerId) -> None:
        """Prepare; `url` leads past a transaction pooler, `worker_id` is the id of the first registration."""
        self._shared = shared
        self._next_id = worker_id
        self._url = url
        self._dispatcher = Dispatcher(
            url,
            queue_schema=shared.settings.queue_schema,
            application_name=f"perron {process_of(worker_id)}",
            agents=self._agents(),
            on_bell=self.take,
        )
        self._executions: dict[RunId, Execution] = {}
        self._tasks: dict[RunId, asyncio.Task[Outcome | None]] = {}
        self._broken: set[RunId] = set()
        """Runs whose execution here has failed by itself: no fault of the run's, but it counts."""
        self._strays: dict[tuple[RunId, int], float] = {}
        """(run, epoch) → when it was first seen that this worker holds the run and does not execute it."""
        self.ended: Counter[str] = Counter()
        """Runs that this worker has ended, by status."""
        self.given_back = 0
        """Runs that went back in line here, or were lost to another worker."""
        self._nudged = asyncio.Event()
        self._freed = asyncio.Event()
        """Room may have come, or this worker takes nothing any more."""
        self._reserved = 0
        self._keeps_room = False
        """The next room is for a run that has died with its worker."""
        self._is_draining = False
        self._poller: asyncio.Task[None] | None = None
        self._partitions_at = clock.boot_s()  # they were made when the platform was opened
        self._lease: Lease | None = None

    @property
    def worker_id(self) -> WorkerId | None:
        """This worker's id; None while it may claim nothing: not registered, its lease out, or draining."""
        lease = self._lease
        return lease.worker_id if lease is not None and lease.is_held and not self._is_draining else None

    @property
    def agents(self) -> Sequence[str]:
        """Names of the agents whose runs it executes."""
        return self._agents()

    @property
    def concurrency(self) -> int:
        """How many runs it executes at once."""
        return self._shared.settings.concurrency

    @property
    def executing(self) -> int:
        """How many it executes now."""
        return len(self._tasks)

    @property
    def is_beating(self) -> bool:
        """Whether its side thread lives, or it registers anew."""
        return self._lease is None or self._lease.is_beating

    @property
    def obstacle(self) -> str | None:
        """Why no run may be given to it now, in two words; None when it is ready."""
        if self._is_draining:
            return "draining"
        if self.worker_id is None:
            return "no lease"
        return None if self._dispatcher.is_listening else "not listening"

    @property
    def _room(self) -> int:
        return self.concurrency - len(self._tasks) - self._reserved - self._keeps_room

    @contextmanager
    def room(self) -> Iterator[WorkerId | None]:
        """Keep room for a run that is created in the block as claimed by this worker.

        Yields the worker's id; None when it has no room, or may claim nothing now.
        """
        worker_id = self.worker_id if self._room > 0 else None
        kept = 0 if worker_id is None else 1
        self._reserved += kept
        try:
            yield worker_id
        finally:
            self._reserved -= kept
            self._freed.set()

    async def take(self, run_id: RunId, thread_id: ThreadId) -> bool:
        """Claim a pending run, as soon as there is room for it, and start it; False when this worker may not.

        One that another has meanwhile counts as taken.
        """
        while self._room <= 0 and not self._is_draining:
            self._freed.clear()
            await self._freed.wait()
        if self.worker_id is None:
            return False
        await self._claim(run_id, thread_id, rescues=False)
        return True

    async def start(self) -> None:
        """Register, begin to beat, and look for work."""
        await self._shared.pauses.look()  # before a run is created as claimed by this worker
        await self._register()
        self._poller = asyncio.create_task(self._poll(), name="perron-poll")
        if not failpoints.hit("bell"):
            self._dispatcher.start()

    async def stop(self) -> None:
        """Drain: runs stop at their next step and go back in line, uncounted; then unregister."""
        self._is_draining = True
        self._freed.set()
        for execution in self._executions.values():
            execution.control.request_drain()
        await self._dispatcher.stop()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait([self._poller])
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._shared.settings.drain_s)
            for task in late:
                task.cancel()  # lost to us; the next worker takes it over when our row is gone
            if late:
                await asyncio.wait(late)
        if (lease := self._lease) is not None:  # its last beat may still say that it is lost
            await asyncio.to_thread(lease.stop)
            try:
                async with self._shared.database.begin() as session:
                    await WorkerRepository(session, Caller.system()).delete(lease.worker_id)
            except DatabaseUnavailableError as exc:  # then its lease ends by itself
                log.warning("worker_not_unregistered", reason=str(exc))

    def nudge(self) -> None:
        """Look for work now instead of at the next poll."""
        self._nudged.set()

    def execute(self, run: ClaimedRun) -> asyncio.Task[Outcome | None]:
        """Start a run that was claimed for this worker; the task's result is None when it was not ended here."""
        if self._lease is None:
            raise RuntimeError("A worker that is not registered has no runs.")
        execution = Execution(run, self._lease, self._shared, on_step=self.nudge)
        if self._is_draining:  # it was claimed meanwhile
            execution.control.request_drain()
        task = asyncio.create_task(execution.execute(), name=f"run {run.run_id}")
        self._executions[run.run_id] = execution
        self._tasks[run.run_id] = task
        task.add_done_callback(lambda done: self._ended(run.run_id, done))
        return task

    def task_of(self, run_id: RunId) -> asyncio.Task[Outcome | None] | None:
        """Return the task that executes this run here."""
        return self._tasks.get(run_id)

    def _ended(self, run_id: RunId, task: asyncio.Task[Outcome | None]) -> None:
        self._executions.pop(run_id, None)
        self._tasks.pop(run_id, None)
        self._freed.set()
        if self._keeps_room:
            self.nudge()
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._broken.add(run_id)
            log.error("execution_failed", run_id=str(run_id), exc_info=exc)
        elif task.cancelled() or (outcome := task.result()) is None:
            self.given_back += 1
        else:
            self.ended[outcome.status] += 1

    async def _register(self) -> None:
        settings = self._shared.settings
        worker_id, self._next_id = self._next_id, next_worker_id(self._next_id)
        sent_at = clock.boot_s()
        async with self._shared.database.begin() as session:
            await WorkerRepository(session, Caller.system()).create(
                WorkerRow(
                    worker_id=worker_id,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    version=version("perron"),
                    agents=list(self._agents()),
                    lease_s=settings.lease_s,
                )
            )
        loop = asyncio.get_running_loop()
        self._lease = Lease(
            worker_id,
            self._url.psycopg,
            schema=self._shared.database.schema,
            lease_s=settings.lease_s,
            beat_s=min(settings.beat_s, settings.lease_s / 4),
            on_lost=partial(loop.call_soon_threadsafe, self._lost, worker_id),
            on_out=partial(loop.call_soon_threadsafe, self._out, worker_id),
        )
        self._lease.start(sent_at=sent_at)

    def _lost(self, worker_id: WorkerId) -> None:
        """Another process took this worker for dead: stop all that it does, and begin anew."""
        if self._lease is None or self._lease.worker_id != worker_id:
            return
        log.warning("worker_lost", worker_id=str(worker_id), runs=len(self._tasks))
        self._lease = None
        for task in self._tasks.values():
            task.cancel()
        self.nudge()

    def _out(self, worker_id: WorkerId) -> None:
        """The database cannot be reached, and others may act for this worker's runs now: stop their graphs.

        Should nobody have taken them when it is back, they are strays.
        """
        if self._lease is None or self._lease.worker_id != worker_id or self._lease.is_held:
            return  # it was reached meanwhile
        for run_id, execution in self._executions.items():
            task = self._tasks[run_id]
            if not execution.has_stopped and not task.cancelling():
                task.cancel()

    async def _poll(self) -> None:
        while not self._is_draining:  # besides the cancel, which a driver may swallow
            self._nudged.clear()
            try:
                if self._lease is None:
                    await self._register()
                await self._shared.pauses.look()
                self._park_paused()
                await self._stop_cancelled()
                if not failpoints.hit("sweep"):
                    await self._rescue()
                    await self._claim_due()
                await self._give_back_strays()
                await self._make_partitions()
            except Exception as exc:  # the door: whatever happens, the next poll tries again
                if is_outage(exc):
                    log.warning("poll_failed", reason=str(exc))
                else:
                    log.exception("poll_failed")
            await rings(self._nudged, self._shared.settings.poll_s)

    async def _stop_cancelled(self) -> None:
        running = [(run_id, execution.run.epoch) for run_id, execution in self._executions.items()]
        if not running:
            return
        async with self._shared.database.begin() as session:
            stopped = await RunRepository(session, Caller.system()).find_stopped(running)
        for run_id, action in stopped:
            execution = self._executions.get(RunId(run_id))
            if execution is not None and execution.cancel_action is None and not execution.has_stopped:
                execution.cancel_action = action
                self._tasks[RunId(run_id)].cancel()

    def _park_paused(self) -> None:
        for execution in self._executions.values():
            run = execution.run
            pause = self._shared.pauses.of_agent(run.owner.tenant, run.graph_id)
            if pause is not None and not execution.has_stopped and not execution.control.drain_requested:
                execution.park(pause)

    async def _give_back_strays(self) -> None:
        """Give back runs that are this worker's by their row, and that nothing here executes.

        The answer to a claim may be lost with its connection, and a caller may be cancelled between the commit
        and the start. Nobody else would ever take such a run: this worker is alive.
        """
        if (worker_id := self.worker_id) is None:
            return
        async with self._shared.database.begin() as session:
            held = await RunRepository(session, Caller.system()).find_held(worker_id)
        now = clock.boot_s()
        strays = [(RunId(run_id), epoch) for run_id, epoch in held if run_id not in self._tasks]
        self._strays = {stray: self._strays.get(stray, now) for stray in strays}
        for (run_id, epoch), seen_at in self._strays.items():
            if now - seen_at < _STRAY_S:
                continue
            async with self._shared.database.begin() as session:
                run = await RunRepository(session, Caller.system()).find_any(run_id)
            if run is not None and run.epoch == epoch and run.worker_id == worker_id:
                log.warning("run_given_back", run_id=str(run_id))
                is_counted = run_id in self._broken
                await release(self._shared.database, ClaimedRun.of(run), is_counted=is_counted)
        self._broken.intersection_update(run_id for run_id, _ in strays)

    async def _claim_due(self) -> None:
        room = self._room
        if room <= 0 or self.worker_id is None:
            return
        async with self._shared.database.begin() as session:
            due = await RunRepository(session, Caller.system()).find_due(agents=self._agents(), limit=room)
        for run_id, thread_id in due:
            await self._claim(RunId(run_id), ThreadId(thread_id), rescues=False)

    async def _rescue(self) -> None:
        """Take over runs that died with their worker, before all that is pending.

        One that has taken two workers along is rescued alone, until it has finished a step: it may be what kills
        them, or have its last attempt beside what does.
        """
        self._keeps_room = False
        if self.worker_id is None:
            return
        async with self._shared.database.begin() as session:
            runs = RunRepository(session, Caller.system())
            stranded = await runs.find_stranded(agents=self._agents(), limit=self.concurrency)
        rescued = [execution.run for execution in self._executions.values() if execution.is_unproven]
        for run_id, thread_id, attempt in stranded:
            if rescued and (attempt >= SUSPECT_ATTEMPT or any(run.is_suspect for run in rescued)):
                return  # those that follow have died as often
            if self._room <= 0:  # bells would go on to take what becomes free
                self._keeps_room = True
                return
            run = await self._claim(RunId(run_id), ThreadId(thread_id), rescues=True)
            if run is not None:
                rescued.append(run)

    async def _claim(self, run_id: RunId, thread_id: ThreadId, *, rescues: bool) -> ClaimedRun | None:
        """Claim a run and start it, if there is room and it is to be had."""
        with self.room() as worker_id:
            if worker_id is None:
                return None
            run = await claim(
                self._shared.database,
                run_id,
                thread_id,
                worker_id=worker_id,
                rescues=rescues,
            )
            if run is None or self._lease is None or self._lease.worker_id != worker_id:
                return None  # if it was claimed for a registration that is lost since, it is rescued
            failpoints.hit("run.after_claim")
            self.execute(run)
            return run

    async def _make_partitions(self) -> None:
        """Once a day: see that the events of the next weeks have their partitions."""
        if clock.boot_s() - self._partitions_at < _DAY_S:
            return
        self._partitions_at = clock.boot_s()
        async with self._shared.database.begin() as session:
            await ensure_partitions(session)

    def _agents(self) -> Sequence[str]:
        registry = self._shared.registry
        if chosen := names_in(self._shared.settings.worker_agents):
            return [registry.get_agent(name).name for name in chosen]
        return [name for name, registered in registry.agents.items() if registered.agent is not None]
