"""Work that many ask for at the same time, done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedWork(Generic[T]):
    """Tasks by what they are for: who asks while one is under way waits for it. The newest results are kept."""

    def __init__(self, *, keep: int = 0) -> None:
        self._keep = keep
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    async def get(
        self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float | None = None
    ) -> T:
        """Return what `work` returns, begun by whoever asks first. It goes on when one of those waiting leaves.

        Raises:
            TimeoutError: It is not done yet.
        """
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(work())
            task.add_done_callback(partial(self._ended, key))
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        if not done:
            raise TimeoutError
        return task.result()

    async def close(self) -> None:
        """Stop what is under way: nobody waits for it any more."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, key: Hashable, task: asyncio.Task[T]) -> None:
        # Asked for here too: those who waited for a failure may have left.
        if self._keep == 0 or task.cancelled() or task.exception() is not None:
            if self._tasks.get(key) is task:
                del self._tasks[key]
            return
        for old in list(self._tasks)[: -self._keep]:
            if self._tasks[old].done():
                del self._tasks[old]
