"""The time: aware UTC for people, boot time for leases."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the time of day, aware and in UTC."""
    return datetime.now(UTC)


def boot_s() -> float:
    """Return seconds that go on while the machine sleeps, where the system has such a clock.

    A lease must not outlive a suspended laptop: `time.monotonic` stands still there on Linux.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
