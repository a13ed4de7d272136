"""`StorageService`: the bytes that threads and tables need."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from perron.caller import Caller
from perron.configuration import PlatformSettings
from perron.database.engine import Database, Session
from perron.errors import PermissionDeniedError
from perron.repositories.storage import StorageRepository, TableStorage, ThreadStorage
from perron.repositories.thread import ThreadRepository


class StorageService:
    """Reads whole tables: for people who want to know, not for what runs often."""

    def __init__(self, database: Database, settings: PlatformSettings) -> None:
        self._database = database
        self._settings = settings

    async def get_threads(self, caller: Caller, *, limit: int = 20) -> Sequence[ThreadStorage]:
        """Return the caller's threads, the largest first."""
        async with self._database.begin() as session:
            return await self._storage(session, caller).get_threads(limit=limit)

    async def get_thread(self, caller: Caller, thread_id: UUID) -> ThreadStorage:
        """Return what one thread needs."""
        async with self._database.begin() as session:
            await ThreadRepository(session, caller).get(thread_id)
            [storage] = await self._storage(session, caller).get_threads(thread_id=thread_id, limit=1)
            return storage

    async def get_tables(self, caller: Caller) -> Sequence[TableStorage]:
        """Return all tables with their indexes, the largest first.

        Raises:
            PermissionDeniedError: Only admins may: the tables hold what belongs to everybody.
        """
        if not caller.is_admin:
            raise PermissionDeniedError("Only admins may see how large the platform's tables are.")
        async with self._database.begin() as session:
            return await self._storage(session, caller).get_tables()

    def _storage(self, session: Session, caller: Caller) -> StorageRepository:
        return StorageRepository(
            session,
            caller,
            schema=self._database.schema,
            langgraph_schema=self._settings.langgraph_schema,
            queue_schema=self._settings.queue_schema,
        )
