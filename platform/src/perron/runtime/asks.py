"""Interrupts of a graph as asks: our own, LangChain's human-in-the-loop requests, and any author's value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.types import Interrupt

from perron.integrations.run.open_ask import OpenAsk

_QUESTION_CHARS = 500


def asks_of(interrupts: Sequence[Interrupt], known: Mapping[str, OpenAsk]) -> list[OpenAsk]:
    """Return an ask for each interrupt; `known` are those that calls and approvals of this execution made."""
    return [known.get(interrupt.id) or _ask(interrupt) for interrupt in interrupts]


def _ask(interrupt: Interrupt) -> OpenAsk:
    value = interrupt.value
    requests = value.get("action_requests") if isinstance(value, dict) else None
    if not requests:
        return OpenAsk(
            interrupt_id=interrupt.id,
            kind="interrupt",
            question=_question(value),
            arguments=value,
            decisions=("respond",),
        )
    reviews = value.get("review_configs") or [{}]
    return OpenAsk(
        interrupt_id=interrupt.id,
        kind="approval",
        question="; ".join(str(r.get("description") or r.get("name")) for r in requests)[:_QUESTION_CHARS],
        arguments=requests,
        decisions=tuple(reviews[0].get("allowed_decisions") or ("approve", "edit", "reject")),
    )


def _question(value: Any) -> str:
    text = value.get("question", value) if isinstance(value, dict) else value
    return str(text)[:_QUESTION_CHARS]
