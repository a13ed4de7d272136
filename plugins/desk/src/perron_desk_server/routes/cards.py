"""`/cards`: freezing them."""

from fastapi import APIRouter, Request

from perron_desk_server.customers import Card, is_card
from perron_desk_server.errors import NotFoundError
from perron_desk_server.routes.dependencies import StoreDep, before_effect

router = APIRouter()


@router.put("/cards/{card_id}/freeze", summary="Freeze a card")
async def freeze(request: Request, store: StoreDep, card_id: str) -> Card:
    """Doing it again changes nothing, but the book has a row for each time."""
    if not is_card(card_id):
        raise NotFoundError("card", card_id)
    await before_effect(request)
    store.freeze_card(card_id)
    return Card(id=card_id, status="frozen")
