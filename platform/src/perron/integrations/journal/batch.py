"""Group commit: what waits while one transaction is in flight goes into the next one together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

I = TypeVar("I")  # noqa: E741  # item
R = TypeVar("R")

MOST = 128
"""Items of one transaction."""


class Batch(Generic[I, R]):
    """Writes items of many callers in few transactions. No timers: one that comes alone is written at once.

    Source: group commit, Gray and Reuter, Transaction Processing, ch. 10.
    """

    def __init__(self, write: Callable[[Sequence[I]], Awaitable[Sequence[R]]], *, writers: int = 1) -> None:
        """Take what writes items in one transaction and returns a result for each, in their order.

        `writers` transactions may be in flight at once.
        """
        self._write = write
        self._writers = writers
        self._waiting: list[tuple[I, asyncio.Future[R]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, item: I) -> R:
        """Write an item; return when it is committed.

        Raises:
            Exception: What writing this item alone raised. Others' items do not fail with it.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        # One that is done stays in the set until the loop's next turn, and takes no item any more.
        if sum(not task.done() for task in self._tasks) < self._writers:
            task = asyncio.get_running_loop().create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def close(self) -> None:
        """Wait until everything is written."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _drain(self) -> None:
        await asyncio.sleep(0)  # those who come in this turn of the loop go along
        while self._waiting:
            items, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            if not await self._try_all(items):
                for item in items:
                    await self._try_all([item])

    async def _try_all(self, items: Sequence[tuple[I, asyncio.Future[R]]]) -> bool:
        try:
            results = await self._write([item for item, _ in items])
        except Exception as exc:  # noqa: BLE001  # whose item it was shows when each is written alone
            if len(items) > 1:
                return False
            _resolve(items[0][1], error=exc)
        except BaseException as exc:
            for _, future in items:
                _resolve(future, error=exc)
            raise
        else:
            for (_, future), result in zip(items, results, strict=True):
                if not future.done():
                    future.set_result(result)
        return True


def _resolve(future: asyncio.Future[R], *, error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
    else:
        future.set_exception(error)
