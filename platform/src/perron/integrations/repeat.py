"""How a repeated write is made safe: the four classes that an operation can declare."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from perron.errors import DefinitionError


class Repeat:
    """What the journal does about a write of which it does not know whether it arrived."""

    @property
    def name(self) -> str:
        """The class's name, as the journal's rows carry it."""
        return type(self).__name__


@dataclass(frozen=True, slots=True)
class SameKey(Repeat):
    """The API does a request with the same key once: it is sent again with it.

    In an operation the key is a header that is set without the author's doing; a function under `@effect` takes it
    from `marker()`.
    """

    header: str = "Idempotency-Key"
    ttl_h: float = 24.0
    """How long the API remembers a key, in hours; later a person is asked."""


@dataclass(frozen=True, slots=True)
class LookUp(Repeat):
    """The write carries a marker of ours (`api.marker`, or `marker()` in an effect) that can be searched for.

    In an integration the finder is a method `async def find(self, api, marker)`, for an effect an async function
    of the marker alone. It returns what the operation would have returned, or None.
    """

    finder: Callable[..., Awaitable[Any]]
    settle_s: float = 2.0
    """After this time what was written shows up in a search."""


@dataclass(frozen=True, slots=True)
class Harmless(Repeat):
    """Twice is the same as once: it is sent again. PUT, DELETE, upserts."""


@dataclass(frozen=True, slots=True)
class AskPerson(Repeat):
    """Nothing makes a repeat safe: a person decides."""

    safe_5xx: bool = False
    """The API promises that nothing was done when it answers 5xx."""


def as_repeat(declared: Repeat | type[Repeat] | None, *, where: str) -> Repeat | None:
    """Return what was declared as an instance; `Harmless` may stand for `Harmless()`.

    Raises:
        DefinitionError: A class that needs arguments, or something else.
    """
    if declared is None or isinstance(declared, Repeat):
        return declared
    if declared is LookUp:
        raise DefinitionError(f"{where}: LookUp needs the finder: repeat=LookUp(find_it, settle_s=2).")
    if isinstance(declared, type) and issubclass(declared, Repeat) and declared is not Repeat:
        return declared()
    raise DefinitionError(f"{where}: repeat is one of SameKey, LookUp, Harmless and AskPerson, not {declared!r}.")
