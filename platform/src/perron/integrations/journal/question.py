"""What a person is asked about a call, and in which words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from perron.ids import CallId
from perron.integrations.exchange import CallSpec
from perron.integrations.run.open_ask import OpenAsk
from perron.integrations.run.slot import Slot
from perron.repositories.recorded import RecordedCall


def unknown_outcome(
    spec: CallSpec, slot: Slot, call_id: CallId, *, arguments: Any, sent_at: datetime, problem: str
) -> OpenAsk:
    """Ask whether a write of which nobody knows is to be made again."""
    question = (
        f"Nobody knows whether {spec.key} was done: it was sent at {_time(sent_at)}, and {problem}. "
        "Look there; then give its result, send it again, or abort."
    )
    return OpenAsk(
        interrupt_id=slot.interrupt_id,
        kind="unknown_outcome",
        question=question,
        arguments=arguments,
        decisions=("give_result", "send", "abort"),
        answer_schema=result_schema(spec),
        call_id=call_id,
        operation=spec.key,
    )


def mismatch(
    spec: CallSpec, slot: Slot, call_id: CallId, *, arguments: Any, other: RecordedCall, is_same: bool
) -> OpenAsk:
    """Ask whether a write is meant that was made before: here with other arguments, or elsewhere with the same."""
    was = "done" if other.state == "done" else "sent, with an unknown outcome,"
    where = "in a run that was rolled back" if other.is_set_aside else "in a step that this thread has left behind"
    if other.is_of_original:
        where = "by the thread that this one was copied from"
    if is_same:
        question = (
            f"{spec.key} was {was} with the same arguments before: at {_time(other.created_at)}, in the node "
            f"{other.node!r} (task {other.task_id}), {where}."
        )
    else:
        question = (
            f"{spec.key} was {was} with other arguments by this step before it was interrupted, at "
            f"{_time(other.created_at)} (call {other.call_id}). Now it would be sent with these."
        )
    use = ("use_recorded",) if other.sealed is not None else ()
    how = "Use the recorded result, send this one too, or abort." if use else "Send this one too, or abort."
    return OpenAsk(
        interrupt_id=slot.interrupt_id,
        kind="mismatch",
        question=f"{question} {how}",
        arguments=arguments,
        decisions=(*use, "send", "abort"),
        call_id=call_id,
        operation=spec.key,
    )


def approval(
    slot: Slot, call_id: CallId, *, text: str, arguments: Any, answer_schema: dict[str, Any] | None, problem: str
) -> OpenAsk:
    """Ask whether to go on, perhaps with other arguments."""
    return OpenAsk(
        interrupt_id=slot.interrupt_id,
        kind="approval",
        question=f"{text} ({problem})" if problem else text,
        arguments=arguments,
        decisions=("approve", "edit", "reject"),
        answer_schema=answer_schema,
        call_id=call_id,
        operation=slot.operation,
    )


def connection(spec: CallSpec, slot: Slot, *, arguments: Any, problem: str) -> OpenAsk:
    """Ask for a connection that works."""
    return OpenAsk(
        interrupt_id=slot.interrupt_id,
        kind="connection",
        question=f"{spec.key} waits for an account: {problem}",
        arguments=arguments,
        decisions=("retry", "abort"),
        operation=spec.key,
    )


def result_schema(spec: CallSpec) -> dict[str, Any] | None:
    """Return the JSON schema of an operation's result; None for a type that has none."""
    try:
        return spec.output.json_schema()
    except PydanticInvalidForJsonSchema:
        return None


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
