"""What a run starts from: its input, its command, or where an attempt before has left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.types import Command, Send

from perron import failpoints
from perron.database.engine import Database
from perron.errors import CheckpointNotFoundError
from perron.repositories.checkpoint import CheckpointRepository
from perron.runtime.claim import ClaimedRun


async def first_input(
    run: ClaimedRun, database: Database, *, langgraph_schema: str, serde: SerializerProtocol
) -> Any:
    """Return what to hand to the graph: the input or command once, later attempts what is still to be told.

    Answers are stored by LangGraph only when their own task ends. So each attempt gets the map again, less the
    answers that tasks have taken already: LangGraph refuses those, and a second `interrupt()` of the same node
    could take the first one's.

    Raises:
        CheckpointNotFoundError: The one to start from has been rolled back since the run was created.
    """
    start = run.kwargs.get("checkpoint_id")
    if start and not run.input_applied:
        async with database.begin() as session:
            # LangGraph takes one that is not there for an empty state.
            if not await CheckpointRepository(session, schema=langgraph_schema).has(run.thread_id, start):
                raise CheckpointNotFoundError(run.thread_id, start)
    command = run.kwargs.get("command") or {}
    resume = command.get("resume")
    if resume and (run.epoch > 1 or run.input_applied):
        resume = await _untaken(run, resume, database, langgraph_schema=langgraph_schema, serde=serde)
    if run.input_applied and not failpoints.hit("input"):
        return Command(resume=resume) if resume else None
    if not command:
        return run.kwargs.get("input")
    update, goto = command.get("update"), _goto(command.get("goto"))
    if not resume and update is None and not goto:
        return None
    return Command(resume=resume or None, update=update, goto=goto)


async def _untaken(
    run: ClaimedRun,
    resume: dict[str, Any],
    database: Database,
    *,
    langgraph_schema: str,
    serde: SerializerProtocol,
) -> dict[str, Any]:
    async with database.begin() as session:
        rows = await CheckpointRepository(session, schema=langgraph_schema).get_interrupts(run.thread_id)
    stopped = [
        _Stopped(
            row["checkpoint_ns"],
            row["task_id"],
            {interrupt.id for interrupt in serde.loads_typed((row["type"], row["blob"]))},
            row["is_finished"],
        )
        for row in rows
    ]
    return {interrupt_id: value for interrupt_id, value in resume.items() if _waits(interrupt_id, stopped)}


@dataclass(frozen=True, slots=True)
class _Stopped:
    """A task and what it asked last."""

    checkpoint_ns: str
    task_id: str
    interrupt_ids: set[str]
    is_finished: bool

    def is_inside(self, other: _Stopped) -> bool:
        """Whether this task belongs to a subgraph that the other one runs."""
        return any(part.endswith(f":{other.task_id}") for part in self.checkpoint_ns.split("|"))


def _waits(interrupt_id: str, stopped: Sequence[_Stopped]) -> bool:
    """Whether the task that asked this has neither ended nor asked something else since.

    A task around it still says what it said when it stopped: the word of the innermost one counts.
    """
    asking = [task for task in stopped if interrupt_id in task.interrupt_ids]
    if not asking or any(task.is_finished for task in asking):
        return False
    for task in asking:
        inside = [other for other in stopped if other.is_inside(task)]
        if inside and not any(other in asking for other in inside):
            return False
    return True


def _goto(goto: Any) -> list[str | Send]:
    targets = goto if isinstance(goto, list) else [] if goto is None else [goto]
    return [Send(t["node"], t.get("input")) if isinstance(t, dict) else t for t in targets]
