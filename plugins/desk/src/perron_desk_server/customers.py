"""The bank's customers: a few written by hand, and one for every other `c-<n>`, always the same."""

import hashlib
import re
from typing import Literal

from pydantic import BaseModel

_CUSTOMER_ID = re.compile(r"c-(0|[1-9][0-9]{0,8})", re.ASCII)
_CARD_ID = re.compile(r"card-[A-Za-z0-9-]{1,64}", re.ASCII)
_PAYMENT_ID = re.compile(r"pay-[A-Za-z0-9-]{1,64}", re.ASCII)

_FIRST_NAMES = ("Ada", "Ben", "Chidi", "Dana", "Elif", "Farid", "Grete", "Hana", "Ivo", "Jun", "Kira", "Luis")
_LAST_NAMES = (
    "Adler",
    "Brooks",
    "Costa",
    "Demir",
    "Ekman",
    "Fischer",
    "Gomez",
    "Haas",
    "Ito",
    "Jansen",
    "Khan",
)
_MERCHANTS = (
    "Bakery Nord",
    "Blue Cab",
    "Corner Books",
    "Green Grocer",
    "Hotel Lind",
    "Kino 5",
    "Rail Europe",
)
_CURRENCIES = ("EUR", "GBP", "USD")


class Card(BaseModel):
    """A card of a customer."""

    id: str
    status: Literal["active", "frozen"] = "active"


class Payment(BaseModel):
    """A payment by card; `cents` is the amount in hundredths of `currency`."""

    id: str
    cents: int
    currency: str
    merchant: str


class Customer(BaseModel):
    """A customer with the cards and the latest payments, newest first."""

    id: str
    name: str
    email: str
    cards: list[Card]
    payments: list[Payment]


def _seeded(
    number: int, name: str, email: str, payments: list[tuple[int, str]], *, card_count: int = 1
) -> Customer:
    return Customer(
        id=f"c-{number}",
        name=name,
        email=email,
        cards=[Card(id=f"card-{number}-{k}") for k in range(1, card_count + 1)],
        payments=[
            Payment(id=f"pay-{number}-{k}", cents=cents, currency="EUR", merchant=merchant)
            for k, (cents, merchant) in enumerate(payments, start=1)
        ],
    )


_SEEDS = {
    customer.id: customer
    for customer in (
        # Charged twice; two cards, one of them lost; a payment above a usual refund limit; nothing paid.
        _seeded(1, "Mara Lindt", "mara@mail.example", [(2499, "Corner Books"), (2499, "Corner Books")]),
        _seeded(2, "Tom Okafor", "tom@mail.example", [(780, "Blue Cab"), (1250, "Kino 5")], card_count=2),
        _seeded(3, "Yuki Sato", "yuki@mail.example", [(48900, "Hotel Lind"), (3150, "Rail Europe")]),
        _seeded(4, "Nils Berg", "nils@mail.example", []),
    )
}


def find_customer(customer_id: str) -> Customer | None:
    """The customer with this id as of the day the account was opened; None unless the id is `c-<n>`."""
    if seed := _SEEDS.get(customer_id):
        return seed.model_copy(deep=True)
    if not (shape := _CUSTOMER_ID.fullmatch(customer_id)):
        return None
    return _generated(int(shape[1]))


def is_card(card_id: str) -> bool:
    """True for `card-<letters, digits, dashes>`: every such card exists."""
    return _CARD_ID.fullmatch(card_id) is not None


def is_payment(payment_id: str) -> bool:
    """True for `pay-<letters, digits, dashes>`: every such payment exists."""
    return _PAYMENT_ID.fullmatch(payment_id) is not None


def _generated(number: int) -> Customer:
    # A digest and not `random`: it stays the same in every Python.
    digest = hashlib.sha256(f"customer {number}".encode()).digest()
    first = _FIRST_NAMES[digest[0] % len(_FIRST_NAMES)]
    last = _LAST_NAMES[digest[1] % len(_LAST_NAMES)]
    currency = _CURRENCIES[digest[2] % len(_CURRENCIES)]
    payments = [
        Payment(
            id=f"pay-{number}-{k}",
            cents=199 + int.from_bytes(digest[4 * k : 4 * k + 2]) % 9_800,
            currency=currency,
            merchant=_MERCHANTS[digest[4 * k + 2] % len(_MERCHANTS)],
        )
        for k in range(1, 3 + digest[3] % 3)
    ]
    if digest[24] % 3 == 0:  # about every third customer was charged twice
        payments[1] = payments[0].model_copy(update={"id": payments[1].id})
    return Customer(
        id=f"c-{number}",
        name=f"{first} {last}",
        email=f"{first}.{last}.{number}@mail.example".lower(),
        cards=[Card(id=f"card-{number}-{k}") for k in range(1, 2 + digest[25] % 2)],
        payments=payments,
    )
