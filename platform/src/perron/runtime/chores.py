"""Chores: what any worker's process does besides its runs, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from perron.database.outage import is_outage, was_cancelled

log = structlog.get_logger(__name__)

Chore = Callable[[], Awaitable[bool]]
"""Does what is due now, safe in several processes at once; returns whether there may be more."""

_PAUSE_S = 1.0
_FIRST_S = 5.0
"""After this long rare chores are done first: a command that is over sooner does none."""
_BREATH_S = 0.1
"""Between two batches of a rare chore: nobody waits for it, and the work beside it goes on."""


class Chores:
    """Does each chore in a task of its own: one that waits for a network does not hold up the others."""

    def __init__(self, *chores: Chore, rare: Mapping[Chore, float] | None = None) -> None:
        """Take the chores of each second, and the rare ones with the seconds between two looks."""
        self._chores = chores
        self._rare = rare or {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin with all of them."""
        often = (_repeat(chore) for chore in self._chores)
        rarely = (
            _repeat(chore, first_s=_FIRST_S, breath_s=_BREATH_S, pause_s=pause_s)
            for chore, pause_s in self._rare.items()
        )
        self._tasks = [asyncio.create_task(work, name="perron-chore") for work in (*often, *rarely)]

    async def stop(self) -> None:
        """Leave what is under way: whoever looks next finds it."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _repeat(chore: Chore, *, first_s: float = 0.0, breath_s: float = 0.0, pause_s: float = _PAUSE_S) -> None:
    await asyncio.sleep(first_s)
    while not was_cancelled():
        has_more = await _do(chore)
        await asyncio.sleep(breath_s if has_more else pause_s)


async def _do(chore: Chore) -> bool:
    try:
        return await chore()
    except Exception as exc:  # the door: whatever happens, the next time tries again
        name = getattr(chore, "__name__", repr(chore))
        if is_outage(exc):
            log.warning("chore_failed", chore=name, reason=str(exc))
        else:
            log.exception("chore_failed", chore=name)
        return False
