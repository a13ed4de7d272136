"""The dispatcher: hears the bells of due runs, and hands them to a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job

from perron.database.listening import keep_connected
from perron.database.url import DatabaseUrl
from perron.dispatch.queue_schema import BELL, queries_on
from perron.errors import DatabaseUnavailableError
from perron.ids import RunId, ThreadId

OnBell = Callable[[RunId, ThreadId], Awaitable[bool]]
"""Takes a run, as soon as there is room for it; False: somebody else has to."""

_LOOK_S = 5.0
"""Bells are looked for this often besides: a notification may be lost with its connection."""
_AGAIN_S = 0.5
_BATCH = 10
_STOP_S = 5.0


class Dispatcher:
    """Listens on a connection of its own, and begins anew when that is lost.

    What waits in the queue is a bell, not the run: whoever hears it claims the run, and the bell is gone. A bell
    that nobody hears costs time and no run, since workers look for due runs besides.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        queue_schema: str,
        application_name: str,
        agents: Sequence[str],
        on_bell: OnBell,
    ) -> None:
        """Prepare; `url` leads past a transaction pooler, which would take LISTEN away."""
        self._url = url
        self._queue_schema = queue_schema
        self._application_name = application_name
        self._agents = agents
        self._on_bell = on_bell
        self._manager: QueueManager | None = None
        self._has_stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_listening(self) -> bool:
        """Whether bells are heard now."""
        return self._manager is not None

    def start(self) -> None:
        """Begin to listen."""
        connected = keep_connected(
            self._url, self._listen, application_name=self._application_name, what="queue of due runs"
        )
        self._task = asyncio.create_task(connected, name="perron-dispatch")

    async def stop(self) -> None:
        """Hear no more; bells that wait for room here go back."""
        if self._task is None:
            return
        if self._manager is not None:
            self._manager.shutdown.set()
            with suppress(TimeoutError):  # of a database that does not answer nobody has to know
                async with asyncio.timeout(_STOP_S):
                    await self._has_stopped.wait()
        self._task.cancel()
        await asyncio.wait([self._task], timeout=_STOP_S)

    async def _listen(self, connection: asyncpg.Connection[Any]) -> None:
        # What a crash of the server takes back here are bells that were heard: they ring again.
        await connection.execute("SET synchronous_commit = off")
        queries = queries_on(connection, self._queue_schema)
        manager = QueueManager(queries, queries.qbe.settings.channel)
        for agent in self._agents:
            manager.entrypoint(f"{BELL}{agent}")(self._answer)
        connection.add_termination_listener(lambda _: manager.shutdown.set())
        self._manager = manager
        self._has_stopped.clear()
        try:
            await manager.run(
                dequeue_timeout=timedelta(seconds=_LOOK_S),
                batch_size=_BATCH,
                max_concurrent_tasks=2 * _BATCH,
                shutdown_on_listener_failure=True,
            )
        finally:
            self._manager = None
            self._has_stopped.set()

    async def _answer(self, job: Job) -> None:
        ids = job.payload or b""
        try:
            is_taken = await self._on_bell(RunId(UUID(bytes=ids[:16])), ThreadId(UUID(bytes=ids[16:])))
        except DatabaseUnavailableError as exc:
            raise RetryRequested(timedelta(seconds=_AGAIN_S), reason=str(exc)) from exc
        if not is_taken:
            raise RetryRequested(timedelta(seconds=_AGAIN_S), reason="no room")
