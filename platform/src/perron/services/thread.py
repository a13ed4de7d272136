"""Rules of threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, get_args
from uuid import UUID

from perron.caller import Caller
from perron.configuration import PlatformSettings
from perron.database.encoding import clean
from perron.database.engine import Database
from perron.errors import AlreadyExistsError, InvalidInputError, PermissionDeniedError, ThreadBusyError
from perron.ids import new_id
from perron.models.thread import Thread, ThreadStatus
from perron.repositories.ask import AskRepository
from perron.repositories.call import CallRepository
from perron.repositories.checkpoint import CheckpointRepository
from perron.repositories.cron import CronRepository
from perron.repositories.run import RunRepository
from perron.repositories.thread import ThreadRepository
from perron.schemas.thread import ThreadUpdate, Ttl
from perron.services.filter import check_filter
from perron.services.thread_deletion import delete_threads
from perron.services.thread_ttl import default_ttl

_BATCH = 100
_READING = timedelta(minutes=1)
"""How long those who wait for the end of a run have to read it, before its temporary thread goes."""


class ThreadService:
    """Threads of callers; each method is one short transaction."""

    def __init__(self, database: Database, settings: PlatformSettings) -> None:
        self._database = database
        self._settings = settings

    async def create(
        self,
        caller: Caller,
        *,
        thread_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        ttl: Ttl | None = None,
    ) -> Thread:
        """Make an idle thread; without `ttl` the settings say how long it lasts.

        Raises:
            AlreadyExistsError: A thread has this id.
        """
        async with self._database.begin() as session:
            threads = ThreadRepository(session, caller)
            made = thread_id or new_id()
            column = ttl.column if ttl is not None else default_ttl(self._settings)
            if not await threads.create_if_absent(made, metadata=clean(metadata or {})[0], ttl=column):
                raise AlreadyExistsError(f"There is a thread {made} already.", thread_id=str(made))
            return await threads.get(made)

    async def get(self, caller: Caller, thread_id: UUID) -> Thread:
        """Return the thread."""
        async with self._database.begin() as session:
            return await ThreadRepository(session, caller).get(thread_id)

    async def update(self, caller: Caller, thread_id: UUID, body: ThreadUpdate) -> Thread:
        """Merge metadata into the thread's, and set or take away its `ttl`: only what is given."""
        async with self._database.begin() as session:
            threads = ThreadRepository(session, caller)
            thread = await threads.get(thread_id, lock=True)
            values: dict[str, Any] = {"metadata_": {**thread.metadata_, **clean(body.metadata)[0]}}
            if "ttl" in body.model_fields_set:
                values["ttl"] = body.ttl.column if body.ttl is not None else None
            await threads.change(thread_id, **values)
            await session.refresh(thread)
            return thread

    async def copy(self, caller: Caller, thread_id: UUID) -> Thread:
        """Make a thread of the same owner with the same state and checkpoints, and without runs.

        Nothing waits in it: what the thread waits for is asked again, as the copy's own question, when a run goes
        on there. So is a person before a write is sent again that the thread's state does not have the result of.

        Raises:
            ThreadBusyError: A run is in line.
        """
        copied = new_id()
        async with self._database.begin() as session:
            threads = ThreadRepository(session, caller)
            thread = await threads.get(thread_id, lock=True)
            if await RunRepository(session, caller).find_head_id(thread_id) is not None:
                raise ThreadBusyError(thread_id)
            await threads.copy(thread, to=copied)
            await CheckpointRepository(session, schema=self._settings.langgraph_schema).copy(thread_id, to=copied)
            await CallRepository(session, caller).copy_doubts(thread_id, to=copied)
            return await threads.get(copied)

    async def search(
        self,
        caller: Caller,
        *,
        status: str | None = None,
        metadata: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[Thread]:
        """Return a page, newest first.

        Raises:
            InvalidInputError: There is no such status.
        """
        check_filter("status", "threads", status, get_args(ThreadStatus))
        async with self._database.begin() as session:
            return await ThreadRepository(session, caller).search(
                status=status, metadata=metadata, limit=limit, offset=offset
            )

    async def transfer(self, caller: Caller, thread_id: UUID, *, to: str) -> Thread:
        """Give a thread, with its runs, its crons and what waits in it, to another principal.

        Its next runs use the new owner's connections; calls that were made keep who made them.

        Raises:
            PermissionDeniedError: Only its owner and admins may.
            ThreadBusyError: A run is in line: it would change its owner while it executes.
        """
        if not to.strip():
            raise InvalidInputError("A thread needs an owner: name the principal to transfer it to.")
        async with self._database.begin() as session:
            threads, runs = ThreadRepository(session, caller), RunRepository(session, caller)
            thread = await threads.get(thread_id, lock=True)
            if not caller.is_admin and thread.owner != caller.principal:
                raise PermissionDeniedError("Only the owner of a thread or an admin may transfer it.")
            if await runs.find_head_id(thread_id) is not None:
                raise ThreadBusyError(thread_id)
            await threads.transfer(thread_id, to=to)
            await runs.transfer(thread_id, to=to)
            await AskRepository(session, caller).transfer(thread_id, to=to)
            await CronRepository(session, caller).transfer(thread_id, to=to)
            await session.refresh(thread)
            return thread

    async def delete_temporary(self) -> bool:
        """Delete temporary threads of all tenants a minute after their run; say whether there may be more.

        One that waits for a person stays until it has been answered, and has run on.
        """
        async with self._database.begin() as session:
            threads = ThreadRepository(session, Caller.system())
            thread_ids = await threads.take_temporary(idle_for=_READING, limit=_BATCH)
            await delete_threads(session, thread_ids, langgraph_schema=self._settings.langgraph_schema)
        return len(thread_ids) == _BATCH
