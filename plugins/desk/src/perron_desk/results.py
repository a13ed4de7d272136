"""What the desk's operations return."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class Card(BaseModel):
    """A payment card."""

    id: str
    status: Literal["active", "frozen"]


class Payment(BaseModel):
    """A payment that a customer made."""

    id: str
    cents: int = Field(description="Amount in hundredths of the currency.")
    currency: str
    merchant: str


class Customer(BaseModel):
    """A customer with cards and payments, the newest payment first."""

    id: str
    name: str
    email: str
    cards: list[Card]
    payments: list[Payment]


class Ticket(BaseModel):
    """A customer's request that people work on."""

    id: str
    customer: str
    subject: str
    text: str
    ref: str | None
    state: Literal["open", "closed"]
    created_at: datetime


class Refund(BaseModel):
    """Money that went back."""

    id: str
    payment: str
    amount_cents: int
    created_at: datetime


class Message(BaseModel):
    """A message that was sent."""

    id: str
    to: str
    text: str
    created_at: datetime
