"""Answers to asks: what people may say, and what a graph is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from perron.errors import InvalidInputError, nearest
from perron.models.ask import Ask
from perron.services.answer_value import check_finite, check_value


@dataclass(frozen=True, slots=True)
class Answer:
    """One decision on an ask, with the value that `edit`, `respond`, `reject` or `give_result` brings."""

    decision: str
    value: Any = None

    def check(self, ask: Ask) -> None:
        """Refuse a decision that this ask does not offer, and a value that does not fit it.

        Raises:
            InvalidInputError: The message names the decisions that it offers, or the field that does not fit.
        """
        if self.decision not in ask.decisions:
            hint = nearest(self.decision, ask.decisions)
            offered = ", ".join(ask.decisions)
            raise InvalidInputError(
                f"The ask {ask.ask_id} takes {offered}, not {self.decision!r}.{hint}", ask_id=str(ask.ask_id)
            )
        if self.decision in ("edit", "give_result") and self.value is None:
            raise InvalidInputError(f"The decision {self.decision!r} needs a value.", ask_id=str(ask.ask_id))
        check_finite(ask, self.decision, self.value)
        if _is_ours(ask) and self.decision in ("edit", "give_result", "respond"):
            check_value(ask, self.decision, self.value)


Answers = Mapping[UUID, Answer] | Mapping[str, Answer]
"""Answers by the ids of their asks."""


def from_resume(ask: Ask, value: Any) -> Answer:
    """Read a LangGraph client's resume value as an answer.

    Chat UIs send LangChain's `{"decisions": [{"type": "approve"}]}`; our own kinds also take the bare decision
    and `{"type" | "decision": …, "value" | "args" | "message": …}`.
    """
    if not _is_ours(ask):
        return Answer(decision=ask.decisions[0] if ask.decisions else "respond", value=value)
    if isinstance(value, dict) and isinstance(value.get("decisions"), list) and value["decisions"]:
        value = value["decisions"][0]
    if isinstance(value, bool):
        value = "approve" if value else "reject"
    if isinstance(value, str):
        return Answer(decision=value)
    if isinstance(value, dict):
        decision = str(value.get("type") or value.get("decision") or "")
        said = next((value[k] for k in ("value", "edited_action", "args", "message") if k in value), None)
        if isinstance(said, dict) and set(said) == {"name", "args"}:
            said = said["args"]
        return Answer(decision=decision, value=said)
    raise InvalidInputError(
        f"The answer to ask {ask.ask_id} is not understood; send one of {', '.join(ask.decisions)}.",
        ask_id=str(ask.ask_id),
    )


def resume_value(ask: Ask, answer: Answer) -> Any:
    """Return what LangGraph hands to the node that waits for this ask."""
    if _is_ours(ask):
        return {"decision": answer.decision, "value": answer.value}  # the call reads it from its row
    if ask.kind == "approval" and not (isinstance(answer.value, dict) and "decisions" in answer.value):
        return {"decisions": [_review(ask, answer, request) for request in ask.arguments or [{}]]}
    return answer.value


def _review(ask: Ask, answer: Answer, request: Any) -> dict[str, Any]:
    review: dict[str, Any] = {"type": answer.decision}
    if answer.decision == "edit":
        review["edited_action"] = {"name": request.get("name"), "args": answer.value}
    elif answer.value is not None:
        review["message"] = answer.value
    return review


def _is_ours(ask: Ask) -> bool:
    return ask.call_id is not None
