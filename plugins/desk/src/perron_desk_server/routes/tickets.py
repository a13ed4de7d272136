"""`/tickets`: what customers have asked for.

A page is `{"items": [...], "next": ...}`; `next` is the path of the following page with all its parameters,
or null on the last one. `per_page` is 20 unless said otherwise, at most 100.
"""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from perron_desk_server.routes.dependencies import StoreDep, before_effect
from perron_desk_server.store import Ticket, TicketState

router = APIRouter()


class TicketCreate(BaseModel):
    """A ticket to open. `ref` is the client's own mark: it can be searched for, and need not be unique."""

    customer: str = Field(min_length=1, max_length=200)
    subject: str = Field(min_length=1, max_length=500)
    text: str = Field(max_length=100_000)
    ref: str | None = Field(None, min_length=1, max_length=255)
    state: TicketState = "open"


class TicketPage(BaseModel):
    """A page of tickets, newest first."""

    items: list[Ticket]
    next: str | None


class TicketQuery(BaseModel, extra="forbid"):
    """Filters, and which page."""

    state: TicketState | None = None
    ref: str | None = None
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


@router.get("/tickets", summary="List tickets, newest first")
async def search(request: Request, store: StoreDep, query: Annotated[TicketQuery, Query()]) -> TicketPage:
    """One ticket more than the page holds is read, to know whether another page follows."""
    await before_effect(request)
    offset = (query.page - 1) * query.per_page
    tickets = store.search_tickets(state=query.state, ref=query.ref, offset=offset, limit=query.per_page + 1)
    following = None
    if len(tickets) > query.per_page:
        parameters = query.model_copy(update={"page": query.page + 1}).model_dump(exclude_none=True)
        following = f"/tickets?{urlencode(parameters)}"
    return TicketPage(items=tickets[: query.per_page], next=following)


@router.post("/tickets", summary="Open a ticket", status_code=201)
async def create(request: Request, store: StoreDep, ticket: TicketCreate) -> Ticket:
    """Two requests make two tickets, also with the same `ref`."""
    await before_effect(request)
    return store.open_ticket(
        customer=ticket.customer,
        subject=ticket.subject,
        text=ticket.text,
        ref=ticket.ref,
        state=ticket.state,
    )
