"""`/messages`: sending them, which nothing makes safe to repeat."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from perron_desk_server.routes.dependencies import StoreDep, before_effect
from perron_desk_server.store import Message

router = APIRouter()


class MessageCreate(BaseModel):
    """A message to send."""

    to: str = Field(min_length=1, max_length=320)
    text: str = Field(max_length=100_000)


@router.post("/messages", summary="Send a message", status_code=201)
async def create(request: Request, store: StoreDep, message: MessageCreate) -> Message:
    """It has no key, and no way to ask whether it was sent."""
    await before_effect(request)
    return store.send_message(to=message.to, text=message.text)
