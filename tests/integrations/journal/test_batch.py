"""Group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from perron.integrations.journal.batch import Batch


class Writer:
    """Writes numbers; `held` keeps a transaction in flight, and 13 never commits."""

    def __init__(self) -> None:
        self.transactions: list[list[int]] = []
        self.held = asyncio.Event()
        self.held.set()

    async def write(self, items: Sequence[int]) -> Sequence[int]:
        self.transactions.append(list(items))
        await self.held.wait()
        if 13 in items:
            raise ValueError("13")
        return [item * 10 for item in items]


async def test_what_waits_while_a_transaction_is_in_flight_shares_the_next() -> None:
    writer = Writer()
    batch = Batch(writer.write)
    writer.held.clear()
    tasks = [asyncio.ensure_future(batch.add(n)) for n in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks += [asyncio.ensure_future(batch.add(n)) for n in (5, 6)]
    await asyncio.sleep(0)
    writer.held.set()

    assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40, 50, 60]
    assert writer.transactions == [[0, 1, 2, 3, 4], [5, 6]]


async def test_each_item_fails_for_itself() -> None:
    batch = Batch(Writer().write)

    results = await asyncio.gather(*[batch.add(n) for n in (1, 13, 2)], return_exceptions=True)

    assert results[0] == 10
    assert isinstance(results[1], ValueError)
    assert results[2] == 20


async def test_an_item_that_comes_when_a_writer_has_just_finished_is_written() -> None:
    batch = Batch(Writer().write)

    async with asyncio.timeout(20):
        for n in range(10):
            assert await batch.add(n) == n * 10


async def test_closing_waits_for_what_was_added() -> None:
    writer = Writer()
    batch = Batch(writer.write)
    task = asyncio.ensure_future(batch.add(1))
    await asyncio.sleep(0)

    await batch.close()

    assert task.done() or await task == 10


async def test_a_caller_that_is_cancelled_takes_nobody_with_it() -> None:
    writer = Writer()
    batch = Batch(writer.write)
    writer.held.clear()
    tasks = [asyncio.ensure_future(batch.add(n)) for n in (1, 2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    writer.held.set()

    assert await tasks[1] == 20
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
