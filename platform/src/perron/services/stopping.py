"""Stopping runs that have not ended: those in line at once, a running one through its worker."""

from __future__ import annotations

from perron.caller import Caller
from perron.database.engine import Session
from perron.models.run import CancelAction, Run
from perron.models.thread import Thread
from perron.repositories.ask import AskRepository
from perron.repositories.base import DATABASE_NOW
from perron.repositories.run import RunRepository
from perron.repositories.run_event import RunEventRepository


async def stop(
    session: Session, caller: Caller, thread: Thread, run: Run, action: CancelAction, *, schema: str
) -> bool:
    """Stop an active run; lock the thread and the run first.

    A running one ends as its worker stops it. A rollback that was asked for once is not taken back.

    Returns:
        Whether the run is gone.
    """
    runs = RunRepository(session, caller)
    if run.cancel_action == "rollback":
        action = "rollback"
    if run.status == "running":
        run.cancel_action = action
    elif action == "rollback":
        await runs.roll_back(run, schema=schema)
        await session.refresh(thread)
        return True
    else:
        await _interrupt(session, caller, run)
        if await runs.find_head_id(run.thread_id) is None:
            thread.status = thread.rest_status
    return False


async def _interrupt(session: Session, caller: Caller, run: Run) -> None:
    if run.epoch == 0:  # its answers have reached nobody: they can be given again
        await AskRepository(session, caller).reopen(run.run_id)
    run.status = "interrupted"
    run.epoch += 1  # one that was given back has events of its last epoch
    run.finished_at = DATABASE_NOW
    await session.flush()
    await RunRepository(session, caller).forget_replaced(run.run_id)
    await RunEventRepository(session, caller).insert_last(
        run.run_id, run.epoch, [("end", "", {"run_id": str(run.run_id), "status": run.status})], after_n=0
    )
