"""Where requests wait because a fault says so."""

import asyncio
from typing import Any


class WaitingRoom:
    """Requests that are late or held. All waiting ends when the desk closes."""

    def __init__(self) -> None:
        self._held: dict[asyncio.Future[bool], str] = {}
        self._late: set[asyncio.Future[bool]] = set()
        self._changed = asyncio.Event()
        self._is_closed = False

    async def hold(self, request: str, client_gone: asyncio.Future[None]) -> bool:
        """Wait until released (True), or until the client is gone or the desk closes (False)."""
        leave = self._enter()
        ends: set[asyncio.Future[Any]] = {leave, client_gone}
        self._held[leave] = request
        self._announce()
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return leave.done() and leave.result()
        finally:
            self._held.pop(leave, None)

    async def pause(self, delay_s: float, client_gone: asyncio.Future[None] | None = None) -> bool:
        """Wait for this time (True), less if the client given is gone or the desk closes (False)."""
        leave = self._enter()
        self._late.add(leave)
        try:
            ends: set[asyncio.Future[Any]] = {leave} if client_gone is None else {leave, client_gone}
            done, _ = await asyncio.wait(ends, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
            return not done
        finally:
            self._late.discard(leave)

    def held(self) -> list[str]:
        """What is held now, as `METHOD /path`, oldest first."""
        return list(self._held.values())

    async def wait_held(self, *, at_least: int, timeout_s: float) -> list[str]:
        """What is held as soon as there are so many, or when the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._held) < at_least and not self._is_closed:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.held()

    def release(self) -> int:
        """Let all held requests go on; how many there were."""
        released = list(self._held)
        self._held.clear()
        for leave in released:
            leave.set_result(True)
        return len(released)

    def close(self) -> None:
        """Send everybody away, now and later."""
        self._is_closed = True
        for leave in (*self._held, *self._late):
            if not leave.done():
                leave.set_result(False)
        self._announce()

    def _enter(self) -> asyncio.Future[bool]:
        leave: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            leave.set_result(False)
        return leave

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
