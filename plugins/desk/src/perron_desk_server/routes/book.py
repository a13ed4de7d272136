"""`/book`: what the desk has done, for counting."""

from typing import Literal

from fastapi import APIRouter

from perron_desk_server.book import Effect, EffectKind
from perron_desk_server.routes.dependencies import StoreDep

router = APIRouter(prefix="/book")


@router.get("", summary="List effects, oldest first")
async def search(
    store: StoreDep, kind: EffectKind | None = None, subject: str | None = None, ref: str | None = None
) -> list[Effect]:
    """All of them, without pages."""
    return store.book.search(kind=kind, subject=subject, ref=ref)


@router.get("/counts", summary="Count effects")
async def counts(
    store: StoreDep, by: Literal["kind", "subject"] = "kind"
) -> dict[EffectKind, int] | dict[EffectKind, dict[str, int]]:
    """`{"refund": 2, ...}`, or by subject `{"refund": {"pay-1-1": 2}, ...}`; all kinds are there."""
    return store.book.counts() if by == "kind" else store.book.counts_by_subject()


@router.delete("", summary="Forget everything", status_code=204)
async def reset(store: StoreDep) -> None:
    """The book, and with it tickets, refunds with their keys, and frozen cards."""
    store.reset()
