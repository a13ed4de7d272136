"""`/payments`: refunding them."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field

from perron_desk_server.customers import is_payment
from perron_desk_server.errors import NotFoundError
from perron_desk_server.routes.dependencies import KeysDep, StoreDep, before_effect
from perron_desk_server.store import Refund

router = APIRouter()


class RefundCreate(BaseModel):
    """How much to pay back. Nobody compares it with the payment: what is refunded twice is refunded twice."""

    amount_cents: int = Field(ge=1, le=100_000_000)


@router.post("/payments/{payment_id}/refunds", summary="Refund a payment", status_code=201)
async def refund(
    request: Request,
    response: Response,
    store: StoreDep,
    keys: KeysDep,
    payment_id: str,
    body: RefundCreate,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Refund:
    """With an `Idempotency-Key` it is done once in 24 hours, and the stored answer is given again.

    Then `Idempotent-Replayed: true` is set. 409: in progress. 422: the key belongs to another payment or amount.
    """
    if not is_payment(payment_id):
        raise NotFoundError("payment", payment_id)
    if idempotency_key is None:
        await before_effect(request)
        return store.refund(payment_id, body.amount_cents, key=None)
    with keys.claim(idempotency_key, payment_id, body.amount_cents):
        stored = store.find_refund(payment_id, body.amount_cents, key=idempotency_key)
        await before_effect(request)
        if stored is None:
            return store.refund(payment_id, body.amount_cents, key=idempotency_key)
    response.headers["Idempotent-Replayed"] = "true"
    return stored
