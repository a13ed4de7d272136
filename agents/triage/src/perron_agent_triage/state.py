"""The graph's input, output and state. Plain JSON, so that a checkpoint of today can be read tomorrow."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from perron_agent_triage.decision import Action, Decision


class Request(TypedDict):
    """A customer's request, in their words."""

    text: str
    customer_id: NotRequired[str | None]
    """`c-<number>`; without it the customer is made of the text: the same text, the same customer."""


class Result(TypedDict):
    """What was done. Ids are the desk's; None and empty where it was not done."""

    topic: str
    decided_by: str
    actions: list[Literal["freeze_card", "refund", "open_ticket", "reply"]]
    """What was done, in this order."""
    customer: str
    """Their id."""
    frozen_cards: list[str]
    ticket_id: str | None
    refund_id: str | None
    refunded_cents: int | None
    message_id: str | None
    reply: str | None


class Payment(TypedDict):
    """A payment by card, in hundredths of its currency."""

    id: str
    cents: int
    currency: str
    merchant: str


class Customer(TypedDict):
    """What the steps need to know of a customer; payments newest first."""

    name: str
    email: str
    active_cards: list[str]
    payments: list[Payment]


class RefundPlan(TypedDict):
    """A refund that is to be made."""

    payment: Payment
    cents: int
    needs_approval: bool


class State(Request, Result):
    """What the steps hand on."""

    decision: Decision
    plan: list[Action]
    """What of the decision's plan is still to be done."""
    profile: Customer | None
    """None when the desk does not know the customer."""
    refund_plan: RefundPlan | None
    is_refund_refused: bool
