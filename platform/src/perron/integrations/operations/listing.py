"""Handing the items of a list to its reader while the call that reads them goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_END = object()


class Listing(Generic[T]):
    """Holds one item: the call waits for its reader, so a long list needs no memory."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        self._is_closed = False

    async def put(self, item: T) -> bool:
        """Hand over an item; False when nobody reads any more."""
        await self._queue.put(item)
        return not self._is_closed

    async def items(self, call: Callable[[], Awaitable[object]]) -> AsyncGenerator[T]:
        """Start the call and yield what it puts here; raise what it raises."""
        task = asyncio.get_running_loop().create_task(self._run(call))
        try:
            while (item := await self._queue.get()) is not _END:
                yield item
            await task
        except GeneratorExit:
            # The reader has had enough. The call sees it at its next item and ends with a record of what it read.
            self._close()
            await asyncio.gather(task, return_exceptions=True)
            raise
        finally:
            self._close()
            task.cancel()

    async def _run(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        finally:
            if not self._is_closed:
                await self._queue.put(_END)

    def _close(self) -> None:
        self._is_closed = True
        while not self._queue.empty():  # lets a waiting `put` return
            self._queue.get_nowait()
