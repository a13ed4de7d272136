"""`EmbeddedServer`: starts the server with its first user and stops it with its last, over all processes."""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from perron.database.embedded.cluster import START_TIMEOUT_S, STOP_TIMEOUT_S, Cluster
from perron.database.embedded.lock import FileLock
from perron.errors import EmbeddedServerError

_CONTROL_TIMEOUT_S = START_TIMEOUT_S + STOP_TIMEOUT_S

T = TypeVar("T")


class EmbeddedServer:
    """One use of the server in `<directory>/postgres`. Any number of uses share one server.

    Two lock files decide who starts and who stops it. `users` is held shared by every use, and asked for
    exclusively only at its end: who gets it was the last. `control` is held exclusively around start-or-join and
    around that end. A killed process holds no lock: the next that ends, or that starts and ends, stops the server.
    """

    def __init__(self, directory: Path, *, on_event: Callable[[str], None] | None = None) -> None:
        self._home = Path(directory).absolute() / "postgres"
        self._on_event = on_event or (lambda _: None)
        self._users: FileLock | None = None
        self._pid = 0
        self._url = ""

    @classmethod
    @asynccontextmanager
    async def open(cls, directory: Path, *, on_event: Callable[[str], None] | None = None) -> AsyncIterator[str]:
        """Use the server in a directory and yield its URL."""
        server = cls(directory, on_event=on_event)
        try:
            yield await server.start()
        finally:
            await server.stop()

    async def start(self) -> str:
        """As `acquire`, off the event loop."""
        return await _finished(asyncio.to_thread(self.acquire))

    async def stop(self) -> None:
        """As `release`, off the event loop."""
        await _finished(asyncio.to_thread(self.release))

    def acquire(self) -> str:
        """Start the server or join it, and return its URL: `postgresql://postgres@/postgres?host=…`.

        From an empty directory that takes about a second. The use ends with `release`, or with the process.

        Raises:
            EmbeddedServerError: It cannot be started or joined; the sentence says why.
        """
        if self._users is not None:
            return self._url
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._control():
                users = FileLock(self._home / "users")
                try:
                    self._url = self._start_or_join(users)
                except BaseException:
                    users.close()
                    raise
        except (OSError, subprocess.SubprocessError) as exc:
            raise EmbeddedServerError(f"The embedded PostgreSQL cannot work in {self._home}: {exc}.") from exc
        self._users, self._pid = users, os.getpid()
        atexit.register(self.release)  # a notebook's kernel, or a script that opens and never closes
        return self._url

    def release(self) -> None:
        """End this use; whoever is the last stops the server. Nothing happens when it has ended already.

        Raises:
            EmbeddedServerError: This was the last use, and the server does not stop.
        """
        users, self._users = self._users, None
        if users is None:
            return
        atexit.unregister(self.release)
        try:
            if self._pid != os.getpid():  # a forked child: the lock is its parent's
                return
            with self._control():
                if users.try_exclusive():
                    Cluster(self._home).stop()
                    self._on_event("stopped PostgreSQL")
        except FileNotFoundError:
            pass  # somebody deleted the directory: the server notices by itself and ends
        finally:
            users.close()

    def _start_or_join(self, users: FileLock) -> str:
        cluster = Cluster(self._home)
        users.try_shared()  # cannot fail: it is held exclusively only under `control`
        if cluster.is_alive():
            url = cluster.reach()
            if url is not None:
                self._on_event("joined the running PostgreSQL")
                return url.full
            # It lives, but its socket is gone or in another container's /tmp.
            if cluster.is_alive():
                if not users.try_exclusive():
                    raise EmbeddedServerError(
                        f"The PostgreSQL in {self._home} is in use, and its socket cannot be reached from here: "
                        "end the other processes (another container?), or set PERRON_DATABASE_URL."
                    )
                cluster.stop()
                users.try_shared()
        if not cluster.exists():
            self._on_event(f"creating a PostgreSQL in {self._home}")
            cluster.create()
        url = cluster.start()
        self._on_event("started PostgreSQL")
        return url.full

    @contextmanager
    def _control(self) -> Iterator[None]:
        control = FileLock(self._home / "control")
        try:
            if not control.wait_exclusive(_CONTROL_TIMEOUT_S):
                raise EmbeddedServerError(
                    f"Another process has been starting or stopping the PostgreSQL in {self._home} for more than "
                    f"{_CONTROL_TIMEOUT_S:g} s; is it stopped?"
                )
            yield
        finally:
            control.close()


async def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Wait for `work` to its end, also when cancelled: a thread goes on anyway, and nobody would undo it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.exception()  # looked at: what it says matters to nobody any more
        raise
