"""What a run starts from: its input, its command, or where an attempt before has left it."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.types import Command, Send

from perron.caller import Caller
from perron.database.engine import Database
from perron.repositories.ask import AskRepository
from perron.repositories.checkpoint import CheckpointRepository
from perron.runtime.claim import ClaimedRun


async def first_input(
    run: ClaimedRun, database: Database, *, langgraph_schema: str, serde: SerializerProtocol
) -> Any:
    """Return what to hand to the graph: the input or command once, later attempts what is still to be told.

    Answers are stored by LangGraph only when their own task ends. So each attempt gets the map again, less the
    answers that tasks have taken already: a second `interrupt()` of the same node has the same id, and would
    take the first one's answer.
    """
    command = run.kwargs.get("command") or {}
    resume = command.get("resume")
    if resume and (run.epoch > 1 or run.input_applied):
        resume = await _untaken(run, resume, database, langgraph_schema=langgraph_schema, serde=serde)
    if run.input_applied:
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
        writes = await CheckpointRepository(session, schema=langgraph_schema).get_interrupt_writes(run.thread_id)
        earlier = await AskRepository(session, Caller.system()).count_answers(
            run.thread_id, list(resume), before_seq=run.seq
        )
    waiting: set[str] = set()
    taken: dict[str, int] = {}
    tasks: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in writes:
        key = (row["checkpoint_ns"], row["checkpoint_id"], row["task_id"])
        tasks.setdefault(key, {})[row["channel"]] = serde.loads_typed((row["type"], row["blob"]))
    for stored in tasks.values():
        answers = stored.get("__resume__", [])
        count = len(answers) if isinstance(answers, list) else 1
        for interrupt in stored.get("__interrupt__", ()):
            waiting.add(interrupt.id)
            taken[interrupt.id] = max(taken.get(interrupt.id, 0), count)
    return {
        interrupt_id: value
        for interrupt_id, value in resume.items()
        if interrupt_id in waiting and taken[interrupt_id] <= earlier.get(interrupt_id, 0)
    }


def _goto(goto: Any) -> list[str | Send]:
    targets = goto if isinstance(goto, list) else [] if goto is None else [goto]
    return [Send(t["node"], t.get("input")) if isinstance(t, dict) else t for t in targets]
