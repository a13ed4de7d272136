"""What the runtime does at the end of nodes and runs: raise swallowed questions, wait for calls."""

from __future__ import annotations

from perron.integrations.context import RunContext
from perron.integrations.openask import ask_value

__all__ = ["ask_value", "settle", "swallowed"]


def swallowed(context: RunContext, task_id: str) -> BaseException | None:
    """Return the exception that a node still owes when its code has ended: its `except Exception` ate it.

    To be called at each end of a node's code, also after an exception: what the task calls later belongs to a new
    attempt.
    """
    attempt = context.attempts.end(task_id)
    return attempt.exception() if attempt is not None and attempt.is_stopping else None


async def settle(context: RunContext) -> None:
    """Wait until no call of the run is being made, so that what was sent is recorded under this execution."""
    await context.attempts.settled()
