"""Triage by rules: an ordered table of what customers of a bank write, of which the first fitting row decides."""

from perron_agent_triage.amounts import find_amount
from perron_agent_triage.decision import Decision
from perron_agent_triage.problems import PROBLEMS
from perron_agent_triage.questions import QUESTIONS
from perron_agent_triage.rule import words_of

RULES = PROBLEMS + QUESTIONS


def decide_by_rules(text: str) -> Decision:
    """Say what to do about a text. What no rule knows becomes a ticket, so that a person reads it."""
    words = words_of(text)
    fitting = next((rule for rule in RULES if rule.fits(words)), None)
    return Decision(
        topic=fitting.topic if fitting else "unclear request",
        plan=list(fitting.plan) if fitting else ["open_ticket"],
        amount_cents=find_amount(words),
        answer=fitting.answer if fitting else "A colleague reads what you wrote and answers you.",
        decided_by="rules",
    )
