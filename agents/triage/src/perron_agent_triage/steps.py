"""The graph's steps: one node each, so that a timeline shows them one by one."""

import hashlib
from typing import Any

from langgraph.runtime import Runtime

from perron import NotFound, Rejected, approve, integration, settings
from perron_agent_triage.config import Config, Context
from perron_agent_triage.model import decide_by_model
from perron_agent_triage.payments import plan_refund
from perron_agent_triage.replies import compose_reply
from perron_agent_triage.rules import decide_by_rules
from perron_agent_triage.state import Customer, Payment, RefundPlan, State
from perron_desk import Desk

Update = dict[str, Any]

_SUBJECT_CHARS = 200
_TICKET_CHARS = 20_000


async def decide(state: State, runtime: Runtime[Context]) -> Update:
    """Decide what to do, and forget what an earlier request in this thread has left."""
    config = settings(Config)
    model = (runtime.context or {}).get("model") or config.model
    text = state["text"]
    decision = await decide_by_model(text, model=model, config=config) if model else decide_by_rules(text)
    return {
        "decision": decision,
        "topic": decision["topic"],
        "decided_by": decision["decided_by"],
        "plan": decision["plan"],
        # Who has written before in this thread, writes again.
        "customer": state.get("customer_id") or state.get("customer") or customer_of(text),
        "actions": [],
        "frozen_cards": [],
        "ticket_id": None,
        "refund_plan": None,
        "is_refund_refused": False,
        "refund_id": None,
        "refunded_cents": None,
        "message_id": None,
        "reply": None,
    }


async def look_up_customer(state: State) -> Update:
    """Ask the desk who it is. About somebody whom it does not know, a person has to find out."""
    try:
        found = await integration(Desk).customer(state["customer"])
    except NotFound:
        return {"profile": None, "plan": ["open_ticket"]}
    profile = Customer(
        name=found.name,
        email=found.email,
        active_cards=[card.id for card in found.cards if card.status == "active"],
        payments=[
            Payment(id=paid.id, cents=paid.cents, currency=paid.currency, merchant=paid.merchant)
            for paid in found.payments
        ],
    )
    return {"profile": profile}


async def freeze_card(state: State) -> Update:
    """Freeze every card that can be paid with: which one is gone, the customer need not know."""
    frozen = [(await integration(Desk).freeze_card(card)).id for card in _known(state)["active_cards"]]
    return {**_done(state, "freeze_card" if frozen else None), "frozen_cards": frozen}


async def open_ticket(state: State) -> Update:
    """Hand the request to a person."""
    subject = state["topic"] if state["profile"] else f"{state['topic']} (unknown customer)"
    ticket = await integration(Desk).open_ticket(
        customer=state["customer"][:_SUBJECT_CHARS],
        subject=subject[:_SUBJECT_CHARS],
        text=state["text"][:_TICKET_CHARS],
    )
    return {**_done(state, "open_ticket"), "ticket_id": ticket.id}


async def choose_payment(state: State) -> Update:
    """Find the payment that a refund is for; where there is none, a person looks."""
    refund_plan = plan_refund(
        _known(state)["payments"],
        amount_cents=state["decision"]["amount_cents"],
        only_duplicate=state["plan"][0] == "refund_duplicate",
        limit_cents=settings(Config).refund_limit_cents,
    )
    if refund_plan is None:
        return {"plan": ["open_ticket"]}
    return {"refund_plan": refund_plan}


async def ask_for_refund(state: State) -> Update:
    """Wait for a person, who may also set another amount."""
    refund_plan = _planned(state)
    payment, cents = refund_plan["payment"], refund_plan["cents"]
    question = (
        f"Refund {cents / 100:.2f} {payment['currency']} to {_known(state)['name']} "
        f"for {payment['merchant']} ({payment['cents'] / 100:.2f} paid)?"
    )
    try:
        approved = await approve(question, args={"payment": payment["id"], "amount_cents": cents})
    except Rejected:
        return {**_done(state, None), "is_refund_refused": True}
    return {"refund_plan": {**refund_plan, "cents": approved["amount_cents"]}}


async def refund(state: State) -> Update:
    """Pay it back."""
    refund_plan = _planned(state)
    made = await integration(Desk).refund(refund_plan["payment"]["id"], refund_plan["cents"])
    return {**_done(state, "refund"), "refund_id": made.id, "refunded_cents": made.amount_cents}


async def send_message(state: State) -> Update:
    """Tell the customer."""
    reply = compose_reply(state)
    sent = await integration(Desk).send_message(_known(state)["email"], reply)
    return {**_done(state, "reply"), "message_id": sent.id, "reply": reply}


def customer_of(text: str) -> str:
    """A customer's id made of a text, the same for the same text: queries from a file name no customer."""
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).digest()
    return f"c-{1_000 + int.from_bytes(digest[:8]) % 999_999_000}"


def _done(state: State, action: str | None) -> Update:
    """Strike the first action off the plan, and note it if it was done."""
    return {"plan": state["plan"][1:], "actions": [*state["actions"], *([action] if action else [])]}


def _known(state: State) -> Customer:
    profile = state["profile"]
    assert profile is not None, "without a profile the only step is a ticket"
    return profile


def _planned(state: State) -> RefundPlan:
    refund_plan = state["refund_plan"]
    assert refund_plan is not None, "the step before has made it"
    return refund_plan
