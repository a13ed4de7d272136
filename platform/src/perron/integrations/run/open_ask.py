"""A question that a node stops for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perron.ids import CallId


@dataclass(frozen=True, slots=True)
class OpenAsk:
    """What a person has to decide; becomes a row of `asks` when the run finishes."""

    interrupt_id: str
    """32 hex digits, derived from the slot: the same each time that the node comes here."""
    kind: str
    """approval | unknown_outcome | mismatch | connection"""
    question: str
    arguments: Any
    """Redacted."""
    decisions: tuple[str, ...]
    answer_schema: dict[str, Any] | None = None
    call_id: CallId | None = None
    operation: str = ""
    """`<integration>.<operation>`, an effect's name, or `approve`."""


def ask_value(ask: OpenAsk) -> dict[str, Any]:
    """Return the interrupt's value, in the form of LangChain's human-in-the-loop requests: chat UIs show those."""
    return {
        "action_requests": [
            {"name": ask.operation or ask.kind, "args": ask.arguments, "description": ask.question}
        ],
        "review_configs": [{"action_name": ask.operation or ask.kind, "allowed_decisions": list(ask.decisions)}],
        "perron": {
            "kind": ask.kind,
            "question": ask.question,
            "call_id": None if ask.call_id is None else str(ask.call_id),
            "decisions": list(ask.decisions),
            "answer_schema": ask.answer_schema,
            "arguments": ask.arguments,
        },
    }
