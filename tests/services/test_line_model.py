"""The lines of threads against a model: any order of what clients, workers and deaths do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from langgraph.checkpoint.base.id import uuid6
from tests.conftest import KEY, State, chain
from tests.runtime.conftest import Rows

from perron.core.platform import Platform
from perron.database.checkpoint_pool import open_checkpoint_pool
from perron.database.engine import Database
from perron.errors import RunEndedError, RunNotFoundError, ThreadBusyError
from perron.ids import RunId
from perron.models.run import CancelAction
from perron.runtime.claim import ClaimedRun, release
from perron.runtime.finish import Outcome, finish
from perron.schemas.run import MultitaskStrategy, RunCreate

T = TypeVar("T")

_THREADS = 2
_FOUND = """
    SELECT t.thread_id, t.status, t.values, ARRAY (
        SELECT jsonb_build_array(r.run_id, r.status, r.cancel_action)
        FROM perron.runs r WHERE r.thread_id = t.thread_id ORDER BY r.seq
    ) AS runs, ARRAY (
        SELECT c.checkpoint_id FROM langgraph.checkpoints c WHERE c.thread_id = t.thread_id::text
    ) AS checkpoints
    FROM perron.threads t WHERE t.thread_id = ANY (%s)
"""

threads = st.integers(0, _THREADS - 1)
places = st.integers(0, 5)


@dataclass
class ModelRun:
    """A run as it should be."""

    run_id: UUID
    status: str = "pending"
    told: CancelAction | None = None
    checkpoints: list[str] = field(default_factory=list)
    claim: ClaimedRun | None = None
    """By whoever has it; kept when it is given back, for what a late worker may try."""

    @property
    def is_active(self) -> bool:
        return self.status in ("pending", "running")


@dataclass
class ModelThread:
    """A thread's line as it should be: all its runs that are not gone, in their order."""

    thread_id: UUID
    runs: list[ModelRun] = field(default_factory=list)
    gone: list[ModelRun] = field(default_factory=list)
    rest: str = "idle"
    """Its status while no run is active."""
    values: Any = None

    @property
    def active(self) -> list[ModelRun]:
        return [run for run in self.runs if run.is_active]

    @property
    def running(self) -> ModelRun | None:
        return next((run for run in self.runs if run.status == "running"), None)

    def stop(self, run: ModelRun, action: CancelAction) -> None:
        action = "rollback" if run.told == "rollback" else action
        if run.status == "running":
            run.told = action
        elif action == "rollback":
            self.roll_back(run)
        else:
            run.status = "interrupted"

    def roll_back(self, run: ModelRun) -> None:
        self.runs.remove(run)
        self.gone.append(run)


class Stage:
    """A platform that executes nothing, and the rows behind it."""

    def __init__(self, platform: Platform, rows: Rows) -> None:
        self.platform = platform
        self.rows = rows

    @classmethod
    async def open(cls, url: str, home: Path) -> Stage:
        async def node(state: State) -> State:
            return state

        platform = await Platform.open(
            agents=[chain(node)], database_url=url, plugins="none", key=KEY, home=home, worker=False
        )
        database = Database(url, pool_size=2)
        return cls(platform, Rows(database, await open_checkpoint_pool(url, application_name="perron test")))

    async def close(self) -> None:
        await self.rows.pool.close()
        await self.rows.database.close()
        await self.platform.close()

    async def sql(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        async with self.rows.pool.connection() as connection:
            cursor = await connection.execute(statement, arguments)
            return await cursor.fetchall() if cursor.description else []


class Lines(RuleBasedStateMachine):
    """What clients ask for, what workers do, and when they die."""

    def __init__(self, runner: asyncio.Runner, stage: Stage) -> None:
        super().__init__()
        self.runner = runner
        self.stage = stage
        self.threads: list[ModelThread] = []

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @property
    def lines(self) -> list[ModelThread]:
        return [thread for thread in self.threads if thread.active]

    @property
    def busy(self) -> list[ModelThread]:
        return [thread for thread in self.threads if thread.running]

    def _running(self, at: int) -> tuple[ModelThread, ModelRun, ClaimedRun]:
        thread = self.busy[at % len(self.busy)]
        assert thread.running is not None
        assert thread.running.claim is not None
        return thread, thread.running, thread.running.claim

    @initialize()
    def make_threads(self) -> None:
        for _ in range(_THREADS):
            made = self.wait(self.stage.platform.threads.create(self.stage.platform.caller))
            self.threads.append(ModelThread(made.thread_id))

    @rule(at=threads, strategy=st.sampled_from(get_args(MultitaskStrategy)))
    def create(self, at: int, strategy: MultitaskStrategy) -> None:
        thread = self.threads[at]
        body = RunCreate(
            assistant_id="agent", thread_id=thread.thread_id, input={"text": "hi"}, multitask_strategy=strategy
        )
        creating = self.stage.platform.runs.create(self.stage.platform.caller, body)
        if strategy == "reject" and thread.active:
            with pytest.raises(ThreadBusyError):
                self.wait(creating)
            return
        for run in thread.active:
            if strategy == "interrupt" or strategy == "rollback":
                thread.stop(run, strategy)
        thread.runs.append(ModelRun(self.wait(creating).run_id))

    @rule(at=threads, place=places, action=st.sampled_from(get_args(CancelAction)))
    def cancel(self, at: int, place: int, action: CancelAction) -> None:
        thread = self.threads[at]
        known = [*thread.active, *thread.runs[-1:], *thread.gone[-1:]]
        if not known:
            return
        run = known[place % len(known)]
        cancelling = self.stage.platform.runs.cancel(self.stage.platform.caller, run.run_id, action=action)
        if run in thread.gone:
            with pytest.raises(RunNotFoundError):
                self.wait(cancelling)
        elif not run.is_active:
            with pytest.raises(RunEndedError):
                self.wait(cancelling)
        else:
            self.wait(cancelling)
            thread.stop(run, action)

    @precondition(lambda self: self.lines)
    @rule(at=threads, place=places)
    def claim(self, at: int, place: int) -> None:
        """A worker looks at some run of the line, often the head; it claims only a head that nobody has."""
        active = self.lines[at % len(self.lines)].active
        run = active[max(place - 3, 0) % len(active)]
        claimed = self.wait(self.stage.rows.claim(RunId(run.run_id)))
        if run is active[0] and run.status == "pending":
            assert claimed is not None
            assert claimed.cancel_action == run.told
            run.status, run.claim = "running", claimed
        else:
            assert claimed is None

    @precondition(lambda self: self.busy)
    @rule(at=threads)
    def die(self, at: int) -> None:
        """The worker dies, another one takes over, and what the dead one tries then is refused."""
        _, run, before = self._running(at)
        run.claim = self.wait(self.stage.rows.claimed_again(before))
        assert run.claim.epoch == before.epoch + 1
        assert not self.wait(self._finish(before, "success"))

    @precondition(lambda self: self.busy)
    @rule(at=threads)
    def step(self, at: int) -> None:
        """The running run writes a checkpoint."""
        thread, run, _ = self._running(at)
        checkpoint_id = str(uuid6())
        self.wait(
            self.stage.sql(
                "INSERT INTO langgraph.checkpoints (thread_id, checkpoint_id, checkpoint, metadata)"
                " VALUES (%s, %s, '{}', jsonb_build_object('source', 'loop', 'run_id', %s::text))",
                str(thread.thread_id),
                checkpoint_id,
                str(run.run_id),
            )
        )
        run.checkpoints.append(checkpoint_id)

    @precondition(lambda self: self.busy)
    @rule(at=threads)
    def give_back(self, at: int) -> None:
        """The worker drains."""
        _, run, claim = self._running(at)
        assert self.wait(release(self.stage.rows.database, claim))
        run.status = "pending"

    @precondition(lambda self: self.busy)
    @rule(at=threads, status=st.sampled_from(["success", "error", "interrupted"]))
    def end(self, at: int, status: str) -> None:
        """The run ends, by itself or as it was told; a rollback is the end of it in any case."""
        thread, run, claim = self._running(at)
        assert self.wait(self._finish(claim, status)) == (run.told != "rollback")
        assert not self.wait(self._finish(claim, "success"))
        if run.told == "rollback":
            thread.roll_back(run)
            return
        run.status, run.told = status, None
        thread.rest = {"success": "idle", "error": "error", "interrupted": "interrupted"}[status]
        thread.values = {"by": str(run.run_id)}

    async def _finish(self, run: ClaimedRun, status: str) -> bool:
        outcome = Outcome(status=status, values={"by": str(run.run_id)}, has_next=status == "interrupted")
        async with self.stage.rows.pool.connection() as connection:
            return await finish(connection, run, outcome, schema="perron", events=[], last_n=0)

    @invariant()
    def the_database_is_as_the_model_says(self) -> None:
        found = self.wait(self.stage.sql(_FOUND, [thread.thread_id for thread in self.threads]))
        by_id = {row["thread_id"]: row for row in found}
        for thread in self.threads:
            row = by_id[thread.thread_id]
            assert row["runs"] == [[str(run.run_id), run.status, run.told] for run in thread.runs]
            assert {run.status for run in thread.active[1:]} <= {"pending"}
            assert row["status"] == ("busy" if thread.active else thread.rest)
            assert row["values"] == thread.values
            kept = {checkpoint_id for run in thread.runs for checkpoint_id in run.checkpoints}
            assert set(row["checkpoints"]) == kept


def test_lines_do_what_the_model_says(database_url: str, tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        stage = runner.run(Stage.open(database_url, tmp_path))
        try:
            run_state_machine_as_test(
                lambda: Lines(runner, stage),  # type: ignore[arg-type]  # any callable that makes one
                settings=settings(
                    max_examples=20,
                    stateful_step_count=40,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    phases=[Phase.generate],  # a failure is told at once: to shrink it takes minutes
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(stage.close())
