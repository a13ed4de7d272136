"""The integration `desk`: a helpdesk's customers, cards, payments, tickets and messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr

from perron import (
    Account,
    Api,
    AskPerson,
    Bearer,
    Harmless,
    Integration,
    LookUp,
    SameKey,
    operation,
)
from perron_desk.results import Card, Customer, Message, Refund, Ticket

_TIMEOUT_S = 10.0
"""A desk answers in milliseconds. Who takes over from a process that was killed waits this long before acting."""


class Settings(BaseModel):
    """Where the desk is."""

    base_url: str = Field("http://127.0.0.1:8765", description="Root of the desk's API.")


class Token(BaseModel):
    """Who we are there."""

    token: SecretStr = Field(description="The desk's access token.")


class Desk(Integration[Settings, Token]):
    """A helpdesk."""

    key, title = "desk", "Helpdesk"
    auth = Bearer("token")
    redact = ("$..email", "$.to")

    async def check(self, api: Api) -> Account:
        """Whose token it is."""
        me = await api.get("/me")
        return Account(id=str(me["id"]), label=str(me["name"]))

    @operation(effect="read")
    async def customer(self, api: Api, customer: str) -> Customer:
        """Show a customer with cards and payments, by id such as c-7."""
        return await api.get("/customers/{customer}", customer=customer, into=Customer)

    @operation(effect="read")
    async def tickets(
        self, api: Api, state: Literal["open", "closed"] | None = None, ref: str | None = None
    ) -> AsyncIterator[Ticket]:
        """List tickets, newest first."""
        async for ticket in api.pages("/tickets", state=state, ref=ref, into=Ticket):
            yield ticket

    async def find_ticket(self, api: Api, marker: str) -> Ticket | None:
        """Find the ticket that carries our marker."""
        async for ticket in api.pages("/tickets", ref=marker, into=Ticket):
            return ticket
        return None

    @operation(effect="create", repeat=LookUp(find_ticket, settle_s=1.0), timeout_s=_TIMEOUT_S)
    async def open_ticket(
        self,
        api: Api,
        customer: Annotated[str, Field(min_length=1, max_length=200)],
        subject: Annotated[str, Field(min_length=1, max_length=500)],
        text: Annotated[str, Field(max_length=100_000)],
    ) -> Ticket:
        """Open a ticket, so that people look after a customer's request."""
        body = {"customer": customer, "subject": subject, "text": text, "ref": api.marker}
        return await api.post("/tickets", json=body, into=Ticket)

    @operation(effect="update", repeat=Harmless, timeout_s=_TIMEOUT_S)
    async def freeze_card(self, api: Api, card: str) -> Card:
        """Freeze a card at once, so that nobody can pay with it."""
        return await api.put("/cards/{card}/freeze", card=card, into=Card)

    @operation(effect="create", repeat=SameKey("Idempotency-Key", ttl_h=24), timeout_s=_TIMEOUT_S)
    async def refund(
        self, api: Api, payment: str, amount_cents: Annotated[int, Field(ge=1, le=100_000_000)]
    ) -> Refund:
        """Pay back a payment or a part of it; `amount_cents` in hundredths of its currency."""
        body = {"amount_cents": amount_cents}
        return await api.post("/payments/{payment}/refunds", payment=payment, json=body, into=Refund)

    @operation(effect="create", repeat=AskPerson, timeout_s=_TIMEOUT_S)
    async def send_message(
        self,
        api: Api,
        to: Annotated[str, Field(min_length=1, max_length=320)],
        text: Annotated[str, Field(max_length=100_000)],
    ) -> Message:
        """Send a message to a customer's address. It cannot be taken back."""
        return await api.post("/messages", json={"to": to, "text": text}, into=Message)
