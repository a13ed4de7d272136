"""Asks that a new run closes: which of those that wait it answers, with what, and what its graph is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from perron.caller import Caller
from perron.database.encoding import clean
from perron.database.engine import Session
from perron.errors import InvalidInputError, NotWaitingError
from perron.models.ask import Ask
from perron.repositories.ask import AskRepository
from perron.services.answer import Answer, from_resume, resume_value

_INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")


async def closed_asks(
    session: Session, caller: Caller, thread_id: UUID, *, resume: Any, answers: Mapping[UUID, Answer] | None
) -> dict[Ask, Answer]:
    """Match answers by ask id, or else a client's resume value, with the asks that wait in a thread; lock those.

    Raises:
        NotWaitingError: An answer to something that does not wait.
        InvalidInputError: An answer that its ask does not take, or that does not say what it answers.
    """
    waiting = await AskRepository(session, caller).get_open(thread_id, lock=True)
    if answers is None:
        answers = _answers_of(thread_id, waiting, resume)
    by_id = {ask.ask_id: ask for ask in waiting}
    closing: dict[Ask, Answer] = {}
    for ask_id, answer in answers.items():
        if ask_id not in by_id:
            raise NotWaitingError(
                f"The ask {ask_id} does not wait for an answer (any more): `perron asks show {ask_id}` says why.",
                ask_id=str(ask_id),
            )
        answer.check(by_id[ask_id])
        closing[by_id[ask_id]] = answer
    return closing


def with_resume(kwargs: Mapping[str, Any], closing: Mapping[Ask, Answer]) -> dict[str, Any]:
    """Return a run's options with the map of interrupt ids to answers that its graph is resumed by."""
    command = {**(kwargs.get("command") or {})}
    command["resume"] = clean({ask.interrupt_id: resume_value(ask, answer) for ask, answer in closing.items()})[0]
    return {**kwargs, "command": command, "is_branch": any(_is_branch(ask.run.kwargs) for ask in closing)}


async def store_answers(session: Session, caller: Caller, closing: Mapping[Ask, Answer], *, run_id: UUID) -> None:
    """Write the answers to their asks, as brought by a run.

    Raises:
        NotWaitingError: Somebody else was faster.
    """
    for ask, answer in closing.items():
        stored = await AskRepository(session, caller).answer(
            ask.ask_id,
            decision=answer.decision,
            value=clean(answer.value)[0],
            answered_by=caller.principal,
            run_id=run_id,
        )
        if not stored:
            raise NotWaitingError(f"The ask {ask.ask_id} has been answered already.", ask_id=str(ask.ask_id))


def _is_branch(kwargs: Mapping[str, Any]) -> bool:
    """Whether a run works on a branch: it started from an older checkpoint, or goes on from one that did."""
    return bool(kwargs.get("checkpoint_id") or kwargs.get("is_branch"))


def _answers_of(thread_id: UUID, waiting: Sequence[Ask], resume: Any) -> dict[UUID, Answer]:
    if not waiting:
        raise NotWaitingError(f"The thread {thread_id} does not wait for an answer.", thread_id=str(thread_id))
    if isinstance(resume, dict) and resume and all(_INTERRUPT_ID.fullmatch(str(key)) for key in resume):
        by_interrupt = {ask.interrupt_id: ask for ask in waiting}
        if unknown := sorted(resume.keys() - by_interrupt.keys()):
            raise NotWaitingError(f"Nothing waits under the interrupt {unknown[0]}.", thread_id=str(thread_id))
        return {by_interrupt[key].ask_id: from_resume(by_interrupt[key], value) for key, value in resume.items()}
    if len(waiting) > 1:
        ids = ", ".join(ask.interrupt_id for ask in waiting)
        raise InvalidInputError(
            f"{len(waiting)} interrupts wait in this thread: resume with a map of their ids ({ids}) to answers.",
            thread_id=str(thread_id),
        )
    return {waiting[0].ask_id: from_resume(waiting[0], resume)}
