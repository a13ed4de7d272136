"""How operations and effects are called: awaited, from a thread, or under a key of the author's."""

from __future__ import annotations

import asyncio
import copy
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any, Generic, ParamSpec, Self, TypeVar

from perron.errors import DefinitionError, Invalid
from perron.integrations.run.context import RunContext, current_run

P = ParamSpec("P")
T = TypeVar("T")


class Invocation(ABC, Generic[P, T]):
    """Something that is called through the journal."""

    key: str
    _once: str | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """Make the call. Its place in the journal is taken now, not when it is awaited."""
        return self._begin(permitted(self.key), args, kwargs)

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make the call from a sync node or tool and wait for it; it runs on the platform's loop."""
        context = permitted(self.key)
        refuse_loop(self.key)
        return asyncio.run_coroutine_threadsafe(self._begin(context, args, kwargs), context.loop).result()

    def once(self, key: str) -> Self:
        """Give the call a key of yours: in its thread it is made once, wherever the code stands."""
        if not key:
            raise Invalid(f"{self.key}.once needs a key that is not empty.", operation=self.key)
        keyed = copy.copy(self)
        keyed._once = key  # noqa: SLF001  # our own copy
        return keyed

    @abstractmethod
    def _begin(
        self, context: RunContext, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, T]: ...


def permitted(key: str) -> RunContext:
    """Return the current run, which has to be one that may use `key`.

    Raises:
        OutsidePlatformError: There is no run.
        Invalid: Its agent has not been granted this.
    """
    context = current_run(key)
    if context.grants is not None and key not in context.grants:
        raise Invalid(f"The agent {context.graph_id!r} may not use {key}: add it to its `uses`.", operation=key)
    return context


def refuse_loop(key: str) -> None:
    """Refuse to block an event loop: with the platform's own, the call could never end.

    Raises:
        DefinitionError: There is one in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise DefinitionError(
        f"{key}.sync is for sync nodes and tools: in async code, await the call without `.sync`."
    )
