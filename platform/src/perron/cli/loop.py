"""Running a command's coroutine so that Ctrl-C lets it clean up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from perron.cli.failure import INTERRUPTED
from perron.cli.output import note

T = TypeVar("T")

_PATIENCE = 2


def run_async(main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine; Ctrl-C and SIGTERM cancel it first.

    After the first an open platform drains. The second ends that too, as far as code that blocks allows; the third
    ends the process.

    Raises:
        SystemExit: It was stopped so.
    """

    async def stoppable() -> T:
        _stop_on_signals()
        return await main()

    try:
        return asyncio.run(stoppable())
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise SystemExit(INTERRUPTED) from None


def _stop_on_signals() -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    count = 0

    def stop() -> None:
        nonlocal count
        count += 1
        if count > _PATIENCE:
            os._exit(INTERRUPTED)
        note("Stopping at the end of the step … (again: leave at once)" if count == 1 else "Leaving …")
        task.cancel()

    # Windows, and threads that are not the main one: asyncio's own handling of Ctrl-C has to do.
    with contextlib.suppress(NotImplementedError, RuntimeError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
