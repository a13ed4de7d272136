"""What the customers of the demo write."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Letter:
    """A request, and the customer at the desk who wrote it."""

    customer: str
    text: str

    @property
    def as_input(self) -> dict[str, str]:
        """What the agent is given."""
        return {"text": self.text, "customer_id": self.customer}


DOZEN = (
    Letter("c-2", "I lost my wallet on the tram, both my cards were in it!"),
    Letter("c-3", "Please refund me the hotel, it was double booked."),
    Letter("c-4", "How do I change my PIN?"),
    Letter("c-10", "My card was stolen at the station an hour ago."),
    Letter("c-11", "Why was my transfer declined?"),
    Letter("c-12", "My new card has not arrived yet."),
    Letter("c-67", "The bakery has charged me twice!"),
    Letter("c-14", "I want to close my account."),
    Letter("c-15", "Somebody is using my card in a city where I have never been."),
    Letter("c-16", "Can I get a second card for my daughter?"),
    Letter("c-17", "The machine gave me less cash than I asked for."),
    Letter("c-18", "What is the exchange rate for pounds today?"),
)
"""One of them asks for more than the agent may pay by itself."""

REFUND = Letter("c-1", "The bookshop charged me twice, please give me one of them back.")
"""The customer has two payments of 24.99 to it."""
REFUND_PAYMENT, REFUND_CENTS = "pay-1-1", 2499
PLAIN_PAYMENT = "pay-5-1"
"""The same on plain LangGraph, for another customer, so that the book tells them apart."""
MESSAGE = Letter("c-6", "Where can I see my PIN?")
"""What this needs is an answer, and nothing else."""
