"""Running a command's coroutine so that Ctrl-C lets it clean up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import TypeVar

from perron.cli.failure import INTERRUPTED

T = TypeVar("T")

_NOTES = (
    b"Stopping at the end of the step ... (again: leave at once)\n",
    b"Leaving ... (again: end the process)\n",
)
_LEAVING_S = 5.0
_STDERR = 2


def run_async(main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine; the first Ctrl-C or SIGTERM cancels it, and an open platform then drains.

    The second one interrupts whatever runs and leaves within seconds, the third one at once.

    Raises:
        SystemExit: It was stopped so.
    """
    cancel: list[Callable[[], object]] = []

    async def stoppable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        return await main()

    try:
        with _stopping_on_signals(cancel):
            return asyncio.run(stoppable())
    except asyncio.CancelledError:
        raise SystemExit(INTERRUPTED) from None
    except KeyboardInterrupt:
        # Not by Python's own way out: what was cut off in the middle, in threads and greenlets, can crash it.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(INTERRUPTED)


@contextlib.contextmanager
def _stopping_on_signals(cancel: list[Callable[[], object]]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals are its alone
        yield
        return
    count = 0

    # Not `loop.add_signal_handler`: that waits for the loop, which an agent's code may hold up.
    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > len(_NOTES):
            os._exit(INTERRUPTED)
        os.write(_STDERR, _NOTES[count - 1])  # whoever was interrupted may hold the lock of sys.stderr
        if count == 1 and cancel:
            cancel[0]()
            return
        # An agent's code in a thread cannot be interrupted, and Python would wait for it.
        guard = threading.Timer(_LEAVING_S, os._exit, [INTERRUPTED])
        guard.daemon = True
        guard.start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
