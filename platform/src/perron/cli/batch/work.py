"""Working through the rows: a bounded number at once, each exactly once over any number of starts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid5

from perron.cli.batch.results import Results
from perron.cli.batch.row import Row
from perron.core.platform import Platform
from perron.errors import InvalidInputError, NotFoundError


class Batch:
    """The runs of one file by one agent into one file of results.

    Each row has an idempotency key made of all three, so that a second start finds the runs of the first, also
    those that died with it: they are taken over when its lease is out.
    """

    def __init__(self, platform: Platform, agent: str, results: Results, *, batch_id: UUID) -> None:
        self.held = 0
        """Rows that were not begun: their thread waits for a person because of a row before."""
        self._platform = platform
        self._agent = agent
        self._results = results
        self._batch_id = batch_id
        self._locks: dict[UUID, asyncio.Lock] = {}
        self._in_line: Counter[UUID] = Counter()

    async def check_results(self) -> None:
        """Refuse a file with the results of another batch.

        Raises:
            InvalidInputError: It is one.
        """
        if self._results.first is None:
            return
        row, run_id = self._results.first
        try:
            run = await self._platform.runs.get(self._platform.caller, run_id)
        except NotFoundError:
            run = None
        if run is None or run.idempotency_key != self._key(row):
            raise InvalidInputError(
                f"{self._results.path} has the results of another batch (agent, content of the file, options or "
                "database differ): name another --out."
            )

    async def run(self, rows: Iterable[Row], *, concurrency: int, on_change: Callable[[], None]) -> None:
        """Run the rows that have no result yet; `on_change` is told after each."""
        line = iter(rows)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work(line, on_change))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _work(self, line: Iterator[Row], on_change: Callable[[], None]) -> None:
        for row in line:  # shared: each row goes to one of the tasks
            if row.number not in self._results:
                await self._run(row)
                on_change()

    async def _run(self, row: Row) -> None:
        thread_id = None if row.thread is None else self._thread_id(row.thread)
        async with self._turn(thread_id):
            if thread_id is not None and await self._waits_for_a_person(thread_id, row):
                self.held += 1
                return
            try:
                run_id = await self._platform.submit(
                    self._agent,
                    row.input,
                    thread_id=thread_id,
                    if_not_exists="create",
                    idempotency_key=self._key(row.number),
                )
            except InvalidInputError as exc:
                self._results.add_refused(row.number, exc)
            else:
                self._results.add(row.number, await self._platform.join(run_id))

    @asynccontextmanager
    async def _turn(self, thread_id: UUID | None) -> AsyncIterator[None]:
        """Keep the rows of a thread in the file's order, one at a time: the next may depend on this one's end."""
        if thread_id is None:
            yield
            return
        self._in_line[thread_id] += 1
        try:
            async with self._locks.setdefault(thread_id, asyncio.Lock()):
                yield
        finally:
            self._in_line[thread_id] -= 1
            if not self._in_line[thread_id]:
                del self._in_line[thread_id], self._locks[thread_id]

    async def _waits_for_a_person(self, thread_id: UUID, row: Row) -> bool:
        """Say whether an ask of an earlier row is open: a new input would take it away."""
        platform = self._platform
        for ask in await platform.asks.search(platform.caller, thread_id=thread_id):
            run = await platform.runs.get(platform.caller, ask.run_id)
            if run.idempotency_key != self._key(row.number):
                return True
        return False

    def _key(self, row: int) -> str:
        return f"batch:{self._batch_id}:{row}"

    def _thread_id(self, name: str) -> UUID:
        try:
            return UUID(name)
        except ValueError:
            return uuid5(self._batch_id, name)
