"""What is to be done about a request: the words that rules, models and the graph share."""

from typing import Literal

from typing_extensions import TypedDict

Action = Literal["freeze_card", "refund", "refund_duplicate", "open_ticket"]
"""`refund_duplicate` pays back only what the customer's payments show twice."""


class Decision(TypedDict):
    """What to do, before anybody has looked at the customer."""

    topic: str
    """What the request is about, in a few words: the subject of a ticket."""
    plan: list[Action]
    """In this order. Every request is answered with a message in the end: empty for a plain question."""
    amount_cents: int | None
    """The amount that the customer names, in hundredths; None when none is named."""
    answer: str
    """What to tell the customer besides what was done."""
    decided_by: str
    """`rules`, or the model's name."""
