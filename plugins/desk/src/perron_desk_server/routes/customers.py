"""`/customers`: who they are, their cards and payments."""

from fastapi import APIRouter, Request

from perron_desk_server.customers import Customer, find_customer
from perron_desk_server.errors import NotFoundError
from perron_desk_server.routes.dependencies import StoreDep, before_effect

router = APIRouter()


@router.get("/customers/{customer_id}", summary="Show a customer")
async def show(request: Request, store: StoreDep, customer_id: str) -> Customer:
    """The customer, with the cards as they are now."""
    customer = find_customer(customer_id)
    if customer is None:
        raise NotFoundError("customer", customer_id)
    await before_effect(request)
    frozen = store.find_frozen(card.id for card in customer.cards)
    for card in customer.cards:
        card.status = "frozen" if card.id in frozen else "active"
    return customer
