"""Claiming a run: the step by which one worker, and no other, may execute it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from perron import clock
from perron.caller import Caller
from perron.database.engine import Database, Session
from perron.database.outage import DatabaseError, sqlstate
from perron.ids import AssistantId, RunId, ThreadId, WorkerId
from perron.models.run import Run
from perron.repositories.run import RunRepository
from perron.repositories.run_event import RunEventRepository
from perron.repositories.thread import ThreadRepository
from perron.repositories.worker import WorkerRepository

LOCK_TIMEOUT = "55P03"
SUSPECT_ATTEMPT = 2
"""A run whose worker died in this attempt, or a later one, is a suspect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRun:
    """A run that this process executes, as it was when it was claimed."""

    run_id: RunId
    thread_id: ThreadId
    assistant_id: AssistantId | None
    graph_id: str
    worker_id: WorkerId
    epoch: int
    attempt: int
    seq: int
    owner: Caller
    kwargs: dict[str, Any]
    """Shape: see `models/run.py`."""
    metadata: dict[str, Any]
    input_applied: bool
    cancel_action: str | None
    started_at: datetime
    has_checkpoints: bool
    """The thread had some when the run was claimed."""
    is_takeover: bool = False
    """A worker before has died with it."""

    @property
    def is_suspect(self) -> bool:
        """Two workers have died with it before it finished a step: it may be what kills them."""
        return self.is_takeover and self.attempt > SUSPECT_ATTEMPT

    @classmethod
    def of(cls, run: Run, *, is_takeover: bool = False) -> Self:
        """Copy what an execution needs."""
        if run.worker_id is None or run.started_at is None:
            raise ValueError(f"Run {run.run_id} is not claimed.")
        return cls(
            run_id=RunId(run.run_id),
            thread_id=ThreadId(run.thread_id),
            assistant_id=AssistantId(run.assistant_id) if run.assistant_id else None,
            graph_id=run.graph_id,
            worker_id=WorkerId(run.worker_id),
            epoch=run.epoch,
            attempt=run.attempt,
            seq=run.seq,
            owner=Caller(principal=run.owner, tenant=run.tenant),
            kwargs=run.kwargs,
            metadata=run.metadata_,
            input_applied=run.input_applied,
            cancel_action=run.cancel_action,
            started_at=run.started_at,
            has_checkpoints=run.claimed_checkpoint_id is not None,
            is_takeover=is_takeover,
        )


async def claim(
    database: Database,
    run_id: RunId,
    thread_id: ThreadId,
    *,
    worker_id: WorkerId,
    rescues: bool = True,
) -> ClaimedRun | None:
    """Take a run for execution and raise its epoch; without `rescues` none that a worker has died with.

    Returns:
        The run, now `running`; None when another has it, it has ended, it is paused, or it is not the head of its
        thread's line.

    Raises:
        DatabaseUnavailableError: The database cannot be reached.

    Source: fencing tokens, Kleppmann, Designing Data-Intensive Applications, ch. 8.
    """

    async def take(session: Session) -> tuple[Run, bool] | None:
        runs = RunRepository(session, Caller.system())
        return await runs.claim(run_id, thread_id, worker_id=worker_id, at=clock.now(), rescues=rescues)

    try:
        claimed = await database.run(take, autocommit=True)
    except DatabaseError as exc:
        if sqlstate(exc) != LOCK_TIMEOUT:
            raise
    else:
        return None if claimed is None else ClaimedRun.of(claimed[0], is_takeover=claimed[1])
    # A worker that was stopped inside a transaction holds the row: once it is dead, end its connections.
    async with database.begin() as session:
        run = await RunRepository(session, Caller.system()).find_any(run_id)
        if run is None or run.worker_id is None:
            return None
        workers = WorkerRepository(session, Caller.system())
        if not await workers.is_live(run.worker_id):
            await workers.terminate_backends(run.worker_id)
    return None  # the next poll finds it free


async def release(
    database: Database,
    run: ClaimedRun,
    *,
    events: Sequence[tuple[str, str, Any]] = (),
    last_n: int = 0,
    is_counted: bool = False,
    parked_by: UUID | None = None,
) -> bool:
    """Give a run back that was stopped between two steps: pending again, the attempt not counted by default.

    `events` are what it has said since number `last_n`. With `parked_by` it waits as long as that pause stands,
    and its time limit begins anew afterwards. False when it is not this worker's any more.
    """
    async with database.begin() as session:
        everyone = Caller.system()
        await ThreadRepository(session, everyone).find_any(run.thread_id, lock=True)
        attempt = run.attempt if is_counted else max(run.attempt - 1, 0)
        changes = {"status": "pending", "worker_id": None, "attempt": attempt, "parked_by": parked_by}
        if parked_by is not None:
            changes["started_at"] = None
        runs = RunRepository(session, everyone)
        released = await runs.end(run.run_id, epoch=run.epoch, **changes)
        if released and parked_by is None:  # the end of a pause is found at the next look
            await runs.ring(run.thread_id)
        if released and events:
            await RunEventRepository(session, everyone).insert_last(run.run_id, run.epoch, events, after_n=last_n)
        return released
