"""What every call is while it is made: part of a node attempt, on the run's own loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar
from uuid import UUID

from perron.errors import DefinitionError
from perron.integrations.exchange import ActiveCall
from perron.integrations.journal.call_site import CallSite
from perron.integrations.run.open_ask import OpenAsk

T = TypeVar("T")

_making: ContextVar[str] = ContextVar("perron_making", default="")
"""The operation whose body is running."""


class Asking(BaseException):  # control flow, which an author's `except Exception` must not catch
    """The call has come to a question, or gives way to the questions of others (`ask` is None)."""

    def __init__(self, ask: OpenAsk | None) -> None:
        self.ask = ask


class Held(BaseException):  # as Asking
    """The call has come to something that is paused; nothing has left for it."""

    def __init__(self, stop: BaseException) -> None:
        self.stop = stop


class JournalCall(ABC):
    """A call of a node attempt."""

    is_waited_for = True
    """Whether a node that stops for a person waits for this call once it has begun."""

    def __init__(self, site: CallSite) -> None:
        self.site = site
        self._number = site.attempt.next_number()

    async def run(self, body: Callable[[ActiveCall], Awaitable[T]]) -> T:
        """Make the call, from whichever loop."""
        loop = self.site.context.loop
        if asyncio.get_running_loop() is loop:
            return await self._run(body)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._run(body), loop))

    async def _run(self, body: Callable[[ActiveCall], Awaitable[T]]) -> T:
        attempt, context = self.site.attempt, self.site.context
        ask = None
        if not attempt.is_stopping:
            if self.is_waited_for:
                attempt.enter(self)
            token = _making.set(self.site.spec.key)
            try:
                return await self.make(body)
            except Asking as asking:
                ask = asking.ask
            except Held as held:
                attempt.hold(held.stop)
            finally:
                _making.reset(token)
                attempt.leave(self)
        if ask is not None:
            context.asks[ask.interrupt_id] = ask
        return await attempt.stop(self._number, ask)

    @abstractmethod
    async def make(self, body: Callable[[ActiveCall], Awaitable[T]]) -> T:
        """Make the call.

        Raises:
            Asking: A person has to decide.
            Held: What it would send to is paused.
        """


def hold(site: CallSite, connection_id: UUID | None = None) -> None:
    """Let nothing leave for what is paused.

    Raises:
        Held: The call's integration or connection is.
    """
    if (stop := site.context.hold(site.spec.key, connection_id)) is not None:
        raise Held(stop)


def refuse_nesting(key: str) -> None:
    """Refuse a call inside another one's body: if it stopped for a person, the outer one would be left half done.

    Raises:
        DefinitionError: There is an outer one.
    """
    if outer := _making.get():
        raise DefinitionError(f"{key} is called inside {outer}: call both from the node, one after the other.")
