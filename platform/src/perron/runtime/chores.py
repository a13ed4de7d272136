"""Chores: what any worker's process does besides its runs, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from perron.database.outage import is_outage

log = structlog.get_logger(__name__)

Chore = Callable[[], Awaitable[bool]]
"""Does what is due now, safe in several processes at once; returns whether there may be more."""

_PAUSE_S = 1.0


class Chores:
    """Does each chore in a task of its own: one that waits for a network does not hold up the others."""

    def __init__(self, *chores: Chore) -> None:
        self._chores = chores
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin with all of them."""
        self._tasks = [asyncio.create_task(_repeat(chore), name="perron-chore") for chore in self._chores]

    async def stop(self) -> None:
        """Leave what is under way: whoever looks next finds it."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _repeat(chore: Chore) -> None:
    while True:
        has_more = False
        try:
            has_more = await chore()
        except Exception as exc:  # the door: whatever happens, the next time tries again
            name = getattr(chore, "__name__", repr(chore))
            if is_outage(exc):
                log.warning("chore_failed", chore=name, reason=str(exc))
            else:
                log.exception("chore_failed", chore=name)
        await asyncio.sleep(0 if has_more else _PAUSE_S)
