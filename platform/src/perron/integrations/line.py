"""A line to an API: where it is, and how requests get their credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from perron.integrations.transport import HttpClient


@dataclass(frozen=True, slots=True)
class Credentials:
    """A connection ready for use: headers that say who we are, and that never show."""

    connection_id: UUID | None
    """None for one from configuration, and where none is needed."""
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """What an `Api` sends through, for one integration and one principal."""

    client: HttpClient
    base_url: str
    credentials: Callable[[], Awaitable[Credentials]]
    """Raises ConnectionNotFoundError or AuthFailed."""
    refused: Callable[[Credentials], Awaitable[None]]
    """To be told when the API refused them."""
