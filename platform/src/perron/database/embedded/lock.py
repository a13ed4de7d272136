"""A lock on a file, held until it is released or the process is gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from perron.errors import EmbeddedServerError

try:
    import fcntl
except ImportError:  # Windows: `FileLock` says so when it is used
    fcntl = None  # type: ignore[assignment]

_POLL_S = 0.01


class FileLock:
    """An open lock file. `flock` binds the lock to this opening: two in one process exclude each other too."""

    def __init__(self, path: Path) -> None:
        """Open the file, and make it when it is missing; it is never deleted.

        Raises:
            EmbeddedServerError: The system has no `flock`.
        """
        if fcntl is None:
            raise EmbeddedServerError(
                "The embedded PostgreSQL needs Linux or macOS: set PERRON_DATABASE_URL to a PostgreSQL, "
                "or run Perron in WSL."
            )
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_exclusive(self) -> bool:
        """Take the lock for this opening alone. When that fails, a shared lock held before is lost."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take the lock together with other sharers, also down from exclusive."""
        return self._try(fcntl.LOCK_SH)

    def wait_exclusive(self, timeout_s: float) -> bool:
        """Take the lock exclusively; False when it is still held by others after `timeout_s`."""
        # Not a blocking flock: that cannot be given up, and a stopped holder would hang us for good.
        deadline = time.monotonic() + timeout_s
        while not self.try_exclusive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def close(self) -> None:
        """Give the lock back, unless a child process has inherited it."""
        os.close(self.fd)

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self.fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
