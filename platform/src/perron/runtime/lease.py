"""A worker's lease: the beats that keep it, and the clock that ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog

from perron import clock, failpoints
from perron.database.silence import cut
from perron.errors import LeaseLostError
from perron.ids import WorkerId, process_of
from perron.repositories.worker import BEAT

log = structlog.get_logger(__name__)


class Lease:
    """Beats from a side thread with a connection of its own, so that a busy loop does not lose the lease.

    Locally the lease ends `lease_s` after the last acknowledged beat was *sent*: never later than others see it.
    """

    def __init__(
        self,
        worker_id: WorkerId,
        conninfo: str,
        *,
        schema: str,
        lease_s: float,
        beat_s: float,
        on_lost: Callable[[], object],
        on_out: Callable[[], object],
    ) -> None:
        """Prepare what is called from the side thread.

        Args:
            on_lost: Another has taken over; no beat follows.
            on_out: Another may take over: the lease is out, and the database cannot be reached. Called at the
                end of the lease, and at each beat that fails after it.
        """
        self.worker_id = worker_id
        self._conninfo = conninfo
        self._statement = BEAT.format(schema=schema)
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._on_lost = on_lost
        self._on_out = on_out
        self._until = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, *, sent_at: float) -> None:
        """Start beating; `sent_at` is the boot time at which the worker's row was written."""
        self._until = sent_at + self._lease_s
        self._thread = threading.Thread(target=self._beat, name="perron-beat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop beating and wait for the side thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=self._lease_s)

    @property
    def is_beating(self) -> bool:
        """Whether the side thread lives."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_held(self) -> bool:
        """Whether nobody can have taken this worker for dead yet."""
        return clock.boot_s() < self._until

    @property
    def _left_s(self) -> float:
        return max(0.0, self._until - clock.boot_s())

    def check(self) -> None:
        """Raise LeaseLostError when the lease is out: others may act for this worker's runs now."""
        if not self.is_held and not failpoints.hit("lease"):
            raise LeaseLostError(
                "This worker has not reached the database within its lease, so it may start nothing any more.",
                worker_id=str(self.worker_id),
            )

    def _beat(self) -> None:
        while not self._stopped.is_set():
            try:
                self._beat_on_one_connection()
            except Exception as exc:  # noqa: BLE001  # the door of this thread: without it nobody would beat again
                log.warning("beat_failed", worker_id=str(self.worker_id), reason=str(exc).strip())
                if not self.is_held:
                    self._on_out()
                self._stopped.wait(min(self._beat_s, 0.5, self._left_s or 0.5))

    def _beat_on_one_connection(self) -> None:
        # Keepalive and timeouts within the lease: a connection that hangs must not outlive it.
        timeout_s = max(1, round(self._lease_s / 3))
        with psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=timeout_s,
            tcp_user_timeout=timeout_s * 1000,
            application_name=f"perron beat {process_of(self.worker_id)}",
        ) as connection:
            while not self._stopped.is_set():
                sent_at = clock.boot_s()
                with _answer_within(connection, self._left_s or timeout_s):
                    beat = connection.execute(self._statement, (self.worker_id,))
                if beat.rowcount == 0 and not failpoints.hit("lease"):
                    self._until = 0.0
                    self._stopped.set()
                    self._on_lost()
                    return
                self._until = sent_at + self._lease_s
                self._stopped.wait(self._beat_s)


@contextmanager
def _answer_within(connection: psycopg.Connection[Any], timeout_s: float) -> Iterator[None]:
    """Cut the connection when the block takes longer: a network that swallows packets never fails by itself."""
    watchdog = threading.Timer(timeout_s, cut, [connection.fileno()])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
