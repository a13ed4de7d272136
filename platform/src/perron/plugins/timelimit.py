"""A time limit for code that is not ours and cannot be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from perron.errors import PluginError

T = TypeVar("T")


def start(work: Callable[[], T]) -> Future[T]:
    """Run `work` in a thread of its own.

    The thread is a daemon: one that hangs holds up neither the process's end nor anything else in it.
    """
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # whoever waits may give up; the thread may still finish

    def run() -> None:
        try:
            outcome.set_result(work())
        except SystemExit as exc:
            outcome.set_exception(PluginError(f"sys.exit({exc.code!r}) was called"))
        except BaseException as exc:  # noqa: BLE001  # a door: who waits for the outcome gets it
            outcome.set_exception(exc)

    threading.Thread(target=run, name="perron-plugin", daemon=True).start()
    return outcome


def run_limited(work: Callable[[], T], timeout_s: float, *, what: str) -> T:
    """Run `work` in a thread and return what it returns, or raise what it raises.

    Raises:
        PluginError: It took longer than `timeout_s`: "it did not finish `what` within … s".
    """
    outcome = start(work)
    try:
        return outcome.result(timeout_s)
    except TimeoutError:
        if outcome.done():  # the work's own
            raise
        raise too_late(what, timeout_s) from None


def too_late(what: str, timeout_s: float) -> PluginError:
    """Make the error of what is stopped being waited for."""
    return PluginError(f"it did not finish {what} within {timeout_s:g} s")
