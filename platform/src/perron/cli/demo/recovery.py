"""The third act and the fourth: what was killed is taken over; where nobody can know, a person is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from perron.cli.demo.desk import Desk
from perron.cli.demo.inbox import PLAIN_PAYMENT, REFUND_PAYMENT
from perron.cli.demo.killing import Killed
from perron.cli.demo.stage import Stage
from perron.core.platform import Platform
from perron.core.result import RunResult
from perron.errors import PerronError

_SILENCE_S = 16.0
"""After its lease, a call's timeout of 10 s and 5 s more: only then can nothing of it be under way."""


@dataclass(frozen=True, slots=True)
class Refunds:
    """How often each of the two has refunded, by the desk's own book."""

    run_id: UUID
    perron: int
    plain: int


@dataclass(frozen=True, slots=True)
class Message:
    """How the message came out."""

    run_id: UUID
    question: str
    decision: str
    sent: int
    """How often, by the desk's own book."""


async def take_over(platform: Platform, desk: Desk, stage: Stage, killed: Killed) -> Refunds:
    """Wait until this process has taken over the refund, and count.

    Raises:
        PerronError: The refund was not made exactly once.
    """
    stage.begin("Another process takes over")
    with stage.working("Waiting until nothing of what was killed can be under way", total_s=_SILENCE_S):
        result = (await _ended(platform, killed.refund_thread)).raise_for_status()
    run = await platform.runs.get(platform.caller, result.run_id)
    stage.tell(f"This process took the refund over (claim {run.epoch}) and sent the same request under its key;")
    stage.tell("the desk gave its first answer again, the customer was told, and the run is done.")
    refunds = Refunds(
        run_id=result.run_id,
        perron=len(await desk.book("refund", REFUND_PAYMENT)),
        plain=len(await desk.book("refund", PLAIN_PAYMENT)),
    )
    stage.tell("")
    stage.show(
        [
            {"who": "Perron", "killed": "once, after the refund", "owed": 1, "refunds": refunds.perron},
            {"who": "plain LangGraph", "killed": "once, after the refund", "owed": 1, "refunds": refunds.plain},
        ],
        {"": "who", "killed": "killed", "refunds owed": "owed", "in the desk's own book": "refunds"},
    )
    if refunds.perron != 1:
        raise PerronError(f"The desk has {refunds.perron} refunds of a payment that was to be refunded once.")
    return refunds


async def ask_person(platform: Platform, desk: Desk, stage: Stage, killed: Killed) -> Message:
    """Show the ask about the message, look where a person would look, answer, and let the run go on.

    Raises:
        PerronError: The run did not ask, or did not go on.
    """
    stage.begin("Nothing makes a message safe to send again, so Perron asks")
    with stage.working("The message's run is taken over"):
        stopped = (await _ended(platform, killed.message_thread)).raise_for_status()
    if not stopped.waiting:
        raise PerronError("The run of the message did not ask what became of it.")
    ask = stopped.waiting[0]
    stage.tell(f"{ask.question}")
    stage.tell(f"It takes: {', '.join(ask.decisions)}.")
    sent = (await desk.book("message", killed.receiver))[-1]
    decision, value = "give_result", _as_answered(sent)
    stage.tell(f"Somebody looks into the outbox and finds it there as {value['id']}, so they answer: {decision}.")
    with stage.working("The run goes on"):
        done = (await ask.answer(decision, value)).raise_for_status()
    count = len(await desk.book("message", killed.receiver))
    if done.waiting or done.output["message_id"] != value["id"] or count != 1:
        raise PerronError(f"The run {done.run_id} did not go on with the answer that it was given.")
    stage.tell(f"The run went on with it and is done; messages to this customer in the desk's book: {count}.")
    return Message(run_id=stopped.run_id, question=ask.question, decision=decision, sent=count)


async def _ended(platform: Platform, thread_id: UUID) -> RunResult:
    runs = await platform.runs.search(platform.caller, thread_id=thread_id, limit=1)
    if not runs:
        raise PerronError("The run of a killed process is gone.")
    return await platform.join(runs[0].run_id)


def _as_answered(effect: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"m-{effect['n']}", **effect["body"], "created_at": effect["at"]}
