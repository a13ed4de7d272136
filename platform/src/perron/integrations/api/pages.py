"""Paged lists: the items of a page, and where the next one is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast
from urllib.parse import urljoin

from pydantic import ValidationError

from perron.errors import Invalid, Upstream
from perron.integrations.api.answer import adapter, explain, read_answer
from perron.integrations.api.transport import same_origin
from perron.integrations.exchange import Exchange

T = TypeVar("T")

MAX_ITEMS = 10_000
"""Items that a list yields before it counts as too long."""
MAX_PAGES = 1_000
_NEXT_LINK = re.compile(r"<([^>]*)>\s*;[^,]*\brel=\"?next\b")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    items: Iterator[T]
    """Raises Invalid when the list is too long, Upstream when an item does not fit."""
    following: str | None
    """The URL of the next page, None after the last."""


class PageReader(Generic[T]):
    """Reads the pages of one list and keeps count."""

    def __init__(self, operation: str, *, into: type[T], items: str, next_field: str, max_items: int) -> None:
        self._operation = operation
        self._item = adapter(cast("Any", into))
        self._items_field = items
        self._next_field = next_field
        self._max_items = max_items
        self._count = 0
        self._urls: set[str] = set()

    def read(self, exchange: Exchange, url: str) -> Page[T]:
        """Read the page that was found at `url`.

        Raises:
            IntegrationError: What the status stands for.
            Upstream: It is no page, or the next one lies elsewhere, in a circle, or too far away.
        """
        body: Any = read_answer(exchange, operation=self._operation)
        is_object = isinstance(body, dict)
        found = body.get(self._items_field) if is_object else body
        if not isinstance(found, list):
            raise self._upstream(f"the page has no list {self._items_field!r}")
        link = body.get(self._next_field) if is_object else _linked(exchange)
        return Page(self._items(found), self._following(url, link) if link else None)

    def _items(self, found: list[Any]) -> Iterator[T]:
        for item in found:
            self._count += 1
            if self._count > self._max_items:
                raise Invalid(
                    f"{self._operation}: the list has more than {self._max_items} items; ask for fewer.",
                    operation=self._operation,
                )
            try:
                yield self._item.validate_python(item)
            except ValidationError as exc:
                raise self._upstream(f"item {self._count}: {explain(exc)}") from None

    def _following(self, url: str, link: object) -> str:
        if not isinstance(link, str):
            raise self._upstream(f"{self._next_field!r} is no URL")
        self._urls.add(url)
        following = urljoin(url, link)
        if not same_origin(following, url):
            raise self._upstream("the next page lies on another host")
        if following in self._urls:
            raise self._upstream("the pages go in a circle")
        if len(self._urls) >= MAX_PAGES:
            raise self._upstream(f"there are more than {MAX_PAGES} pages")
        return following

    def _upstream(self, reason: str) -> Upstream:
        return Upstream(
            f"{self._operation}: the API's list cannot be read.",
            detail=f"{self._operation}: {reason}.",
            operation=self._operation,
        )


def _linked(exchange: Exchange) -> str | None:
    match = _NEXT_LINK.search(exchange.headers.get("link", ""))
    return match[1] if match else None
