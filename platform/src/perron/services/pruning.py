"""Pruning: threads that go, or that keep their newest state only; on demand, or when their time is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import get_args
from uuid import UUID

import structlog

from perron.caller import Caller
from perron.configuration import PlatformSettings
from perron.database.checkpoint_pool import CheckpointPool
from perron.database.engine import Database, Session
from perron.database.outage import is_outage
from perron.errors import InvalidInputError
from perron.models.thread import PruneStrategy, ThreadStatus
from perron.repositories.thread import BUSY, CRON, WAITS, ThreadRepository
from perron.runtime.pruning import delta_threads, keep_latest
from perron.services.filter import check_filter
from perron.services.thread_deletion import delete_threads

log = structlog.get_logger(__name__)

BATCH = 20
"""Threads that are deleted in one transaction."""
_WHY = {
    BUSY: "A run of it is in line.",
    CRON: "It has a cron that has not ended.",
    WAITS: "It waits for a person, or stands in the middle.",
}
_GONE = "There is no such thread."
_CHANGED = "It was updated or deleted meanwhile."
_AGAIN_AFTER = timedelta(hours=1)
_DELTA = "It uses a DeltaChannel, whose state is read from all checkpoints: delete the thread, or keep it whole."


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of a thread that was to be pruned."""

    thread_id: UUID
    kept: str | None = None
    """Why it stays as it is: a sentence; None: it was pruned."""


class PruneService:
    """Prunes threads. A thread with a run in line stays as it is, and no run begins in one while it is pruned."""

    def __init__(self, database: Database, pool: CheckpointPool, settings: PlatformSettings) -> None:
        self._database = database
        self._pool = pool
        self._settings = settings

    async def find(
        self, caller: Caller, *, status: str | None = None, older_than: timedelta | None = None
    ) -> Sequence[UUID]:
        """Return all threads with this status whose last update is so long ago, the oldest first.

        Raises:
            InvalidInputError: There is no such status.
        """
        check_filter("status", "threads", status, get_args(ThreadStatus))
        async with self._database.begin() as session:
            return await ThreadRepository(session, caller).find_ids(status=status, older_than=older_than)

    async def prune(
        self,
        caller: Caller,
        thread_ids: Sequence[UUID],
        *,
        strategy: PruneStrategy = "delete",
        status: str | None = None,
        older_than: timedelta | None = None,
        waiting: bool = False,
        dry_run: bool = False,
    ) -> Sequence[Pruned]:
        """Prune threads, in short transactions; those that are used stay as they are.

        Args:
            strategy: `delete` takes the thread with its runs, events, asks and ended crons; its calls stay in the
                journal. `keep_latest` takes all checkpoints but the newest of each namespace, and nothing else.
            status: Those only that still have this status.
            older_than: Those only whose last update is still so long ago.
            waiting: Prune those too that wait for a person, or stand in the middle.
            dry_run: Only say what would become of each.

        Raises:
            InvalidInputError: There is no such strategy.
        """
        if strategy not in get_args(PruneStrategy):
            raise InvalidInputError(f"Threads are pruned by delete or keep_latest, not {strategy!r}.")
        size = BATCH if strategy == "delete" else 1
        pruned: list[Pruned] = []
        for first in range(0, len(thread_ids), size):
            batch = thread_ids[first : first + size]
            async with self._database.begin() as session:
                kept = await self._kept(
                    session, caller, batch, waiting=waiting, status=status, older_than=older_than
                )
                going = [thread_id for thread_id in batch if thread_id not in kept]
                if strategy == "keep_latest":
                    kept |= await self._keep_latest(session, going, dry_run=dry_run)
                elif not dry_run:
                    await delete_threads(session, going, langgraph_schema=self._settings.langgraph_schema)
            pruned += [Pruned(thread_id, kept.get(thread_id)) for thread_id in batch]
        return pruned

    async def expire_due(self) -> bool:
        """Prune threads of all tenants whose time is over; say whether there may be more.

        Of those that wait for a person only with the setting `thread_ttl_waiting`. One that cannot be pruned holds
        up no other: it is looked at again after an hour.
        """
        for _ in range(BATCH):
            if not await self._expire_one():
                return False
        return True

    async def _expire_one(self) -> bool:
        thread_id: UUID | None = None
        try:
            async with self._database.begin() as session:
                threads = ThreadRepository(session, Caller.system())
                waiting = self._settings.thread_ttl_waiting
                due = await threads.take_expired(with_waiting=waiting)
                if due is None:
                    return False
                thread_id, strategy = due
                if await self._used(threads, [thread_id], waiting=waiting):
                    return True
                if strategy == "delete":
                    await delete_threads(session, [thread_id], langgraph_schema=self._settings.langgraph_schema)
                elif kept := await self._keep_latest(session, [thread_id]):
                    log.info("thread_kept", thread_id=str(thread_id), reason=kept[thread_id])
        except Exception as exc:  # the door: whatever one thread's rows hold, the others have their time too
            if thread_id is None or is_outage(exc):
                raise
            log.exception("thread_not_pruned", thread_id=str(thread_id))
            async with self._database.begin() as session:
                await ThreadRepository(session, Caller.system()).postpone(thread_id, _AGAIN_AFTER)
        return True

    async def _kept(
        self,
        session: Session,
        caller: Caller,
        thread_ids: Iterable[UUID],
        *,
        waiting: bool,
        status: str | None,
        older_than: timedelta | None,
    ) -> dict[UUID, str]:
        """Lock threads, and return why some of them stay."""
        threads = ThreadRepository(session, caller)
        # First the locks, then a look: what committed while we waited for them counts.
        locked = await threads.lock_all(list(thread_ids), status=status, older_than=older_than)
        used = await self._used(threads, locked, waiting=waiting)
        absent = _GONE if status is None and older_than is None else _CHANGED
        return used | {thread_id: absent for thread_id in thread_ids if thread_id not in locked}

    async def _used(
        self, threads: ThreadRepository, thread_ids: Sequence[UUID], *, waiting: bool
    ) -> dict[UUID, str]:
        """Return what speaks against pruning threads that are locked."""
        used = await threads.find_used(thread_ids)
        return {thread_id: _WHY[use] for thread_id, use in used.items() if not (waiting and use == WAITS)}

    async def _keep_latest(
        self, session: Session, thread_ids: Sequence[UUID], *, dry_run: bool = False
    ) -> Mapping[UUID, str]:
        """Take the earlier checkpoints of threads that the session has locked; return why some stay whole."""
        delta = await delta_threads(self._pool, thread_ids) if thread_ids else set()
        for thread_id in thread_ids if not dry_run else ():
            if thread_id not in delta:
                await keep_latest(self._pool, thread_id)
            await ThreadRepository(session, Caller.system()).has_been_pruned(thread_id)
        return dict.fromkeys(delta, _DELTA)
