"""The journal's way into the database: few transactions for many calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from perron import clock, failpoints
from perron.database.engine import Database
from perron.errors import DatabaseUnavailableError
from perron.integrations.journal.batch import Batch
from perron.integrations.run.context import RunContext, TaskRef
from perron.integrations.run.node_attempt import NodeAttempt
from perron.integrations.run.slot import Slot
from perron.integrations.run.task_history import TaskHistory
from perron.integrations.sealing.key_ring import KeyRing
from perron.integrations.sealing.thread_seal import ThreadSeal
from perron.repositories.journal import JournalRepository
from perron.repositories.recorded import Outcome, RecordedCall

_RECONNECT_S = 0.2


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long the journal tries."""

    tries: int = 4
    """Of one call, in one execution of its node."""
    backoff_s: float = 0.5
    """Before the second try; twice as long before each further one."""
    longest_wait_s: float = 30.0
    """The most that an API's Retry-After is heeded."""
    sent_window_s: float = 5.0
    """After `sent` was begun, the first byte leaves within this time or not at all."""
    outage_s: float = 60.0
    """How long a result waits for the database to come back."""

    def wait_s(self, tries: int, *, asked_s: float | None = None) -> float:
        """Return the pause after this many tries; `asked_s` is what the API asked for."""
        wanted_s = self.backoff_s * 2 ** (tries - 1) if asked_s is None else asked_s
        return min(wanted_s, self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class FirstSend:
    """A call and its first attempt, to be inserted together."""

    run_id: UUID
    epoch: int
    call: Mapping[str, Any]
    attempt: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReadRows:
    """A call that is never replayed, and its attempts; or the reads that a write made besides."""

    call: Mapping[str, Any] | None
    attempts: Sequence[Mapping[str, Any]]


class Ledger:
    """Rows of calls: written in groups, read per node attempt."""

    def __init__(self, database: Database, keys: KeyRing, patience: Patience) -> None:
        self.patience = patience
        self.keys = keys
        self._database = database
        self._first_sends: Batch[FirstSend, None] = Batch(self._write_first_sends)
        self._outcomes: Batch[Outcome, bool] = Batch(self._write_outcomes)
        self._reads: Batch[ReadRows, None] = Batch(self._write_reads)

    async def close(self) -> None:
        """Wait until everything is written."""
        for batch in (self._first_sends, self._outcomes, self._reads):
            await batch.close()

    @asynccontextmanager
    async def transaction(
        self, context: RunContext | None = None, *, autocommit: bool = False
    ) -> AsyncIterator[JournalRepository]:
        """Open a transaction; with a run, one that commits only as long as this worker has it.

        With `autocommit` each statement is one of its own: for work of one statement.

        Raises:
            LeaseLostError: It has it no more.
        """
        async with self._database.begin(autocommit=autocommit) as session:
            repository = JournalRepository(session, schema=self._database.schema)
            if context is not None and not failpoints.hit("fence"):
                await repository.fence({(context.run_id, context.epoch)})
            yield repository

    async def load(self, context: RunContext, task: TaskRef, attempt: NodeAttempt) -> TaskHistory:
        """Return what the task did before, in one transaction per node attempt."""
        async with attempt.loading:
            if attempt.history is None:
                if attempt.before is not None:
                    await attempt.before.settled()  # its results are not in the database yet
                async with self.transaction() as repository:
                    rows = await repository.find_of_task(context.thread_id, task.task_id, task.node)
                    await self._load_seal(repository, context)
                attempt.history = TaskHistory(task.task_id, rows)
        return attempt.history

    async def find_in_slot(self, context: RunContext, slot: Slot) -> RecordedCall | None:
        """Return the call of a slot, whichever task made it."""
        async with self.transaction() as repository:
            await self._load_seal(repository, context)
            return await repository.find_in_slot(
                slot.thread_id, slot.task_id, slot.tool_call_id, slot.operation, slot.place
            )

    async def send_first(self, item: FirstSend) -> None:
        """Commit `sent` for a new call.

        Raises:
            LeaseLostError: This worker may not act for the run any more.
            SlotTakenError: The slot has its call.
        """
        await self._first_sends.add(item)

    async def settle(self, outcome: Outcome) -> bool:
        """Record what became of an attempt, also through an outage; say whether its call took the new state.

        Raises:
            DatabaseUnavailableError: The outage lasts longer than `outage_s`.
        """
        until_s = clock.boot_s() + self.patience.outage_s
        while True:
            try:
                return await self._outcomes.add(outcome)
            except DatabaseUnavailableError:
                if clock.boot_s() > until_s:
                    raise
            await asyncio.sleep(_RECONNECT_S)

    async def record_read(self, rows: ReadRows) -> None:
        """Record for people what was read."""
        await self._reads.add(rows)

    async def _load_seal(self, repository: JournalRepository, context: RunContext) -> None:
        if context.seal is None:
            context.seal = await ThreadSeal.load(repository, self.keys, context.thread_id)

    async def _write_first_sends(self, items: Sequence[FirstSend]) -> Sequence[None]:
        async with self.transaction() as repository:
            if not failpoints.hit("fence"):
                await repository.fence({(item.run_id, item.epoch) for item in items})
            await repository.insert([item.call for item in items], [item.attempt for item in items])
        return [None] * len(items)

    async def _write_outcomes(self, items: Sequence[Outcome]) -> Sequence[bool]:
        async with self.transaction(autocommit=True) as repository:
            changed = await repository.settle(items)
        return [item.call_id in changed for item in items]

    async def _write_reads(self, items: Sequence[ReadRows]) -> Sequence[None]:
        async with self.transaction() as repository:
            await repository.commit_without_waiting()
            attempts = [attempt for item in items for attempt in item.attempts]
            await repository.insert([item.call for item in items if item.call is not None], attempts)
        return [None] * len(items)
