"""`/me`: whose token this is."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from perron_desk_server.routes.dependencies import before_effect

router = APIRouter()


class Me(BaseModel):
    """The account behind the token."""

    id: str
    name: str


@router.get("/me", summary="Whose token this is")
async def show(request: Request) -> Me:
    """The desk has one account."""
    await before_effect(request)
    return Me(id="desk-1", name="Demo Desk")
