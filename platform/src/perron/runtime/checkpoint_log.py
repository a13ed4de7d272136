"""The checkpoint log: what all runs of a process write to LangGraph's tables, committed together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Cursor
from psycopg.rows import DictRow
from typing_extensions import override

from perron.database.checkpoint_pool import CheckpointPool
from perron.database.outage import is_outage, is_passing
from perron.errors import LeaseLostError
from perron.ids import RunId, ThreadId
from perron.repositories.checkpoint import PUT

Row = tuple[Any, ...]

_IN_FLIGHT = 2
"""Commits under way at once: while one waits for the disk, the next is sent."""
_BATCH = 64
_FIELDS: dict[str, tuple[str, ...]] = {
    "blobs": ("holder", "thread_id", "ns", "channel", "version", "type", "data"),
    "checkpoints": ("holder", "thread_id", "ns", "id", "parent_id", "checkpoint", "metadata"),
    "writes": (
        *("holder", "thread_id", "ns", "id", "task_id", "task_path"),
        *("idx", "channel", "type", "data", "replaces"),
    ),
}


@dataclass(eq=False, slots=True)
class Recording:
    """One operation of a saver: the statements of its pipeline, kept instead of sent.

    So the stock saver decides what is written, and this file only how.
    """

    run_id: RunId
    epoch: int
    thread_id: ThreadId
    applies_input: bool
    clears_ns: str | None
    """Namespace whose sealed responses this write makes needless."""
    is_earlier: bool = False
    """It may write onto a checkpoint from before the run: what it replaces there is kept for a rollback."""
    blobs: list[Row] = field(default_factory=list)
    checkpoints: list[Row] = field(default_factory=list)
    writes: dict[Row, Row] = field(default_factory=dict)
    """By primary key: the last one counts, as it would in a pipeline."""
    committed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def holder(self) -> str:
        """The execution that writes: a run, and the epoch under which it was claimed."""
        return f"{self.run_id}/{self.epoch}"

    def execute(self, statement: str, row: Sequence[Any] = ()) -> None:
        """Keep one row."""
        self.executemany(statement, [row])

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Keep rows of one of the saver's statements."""
        if statement == PostgresSaver.UPSERT_CHECKPOINT_BLOBS_SQL:
            self.blobs.extend((self.holder, *row) for row in rows)
        elif statement == PostgresSaver.UPSERT_CHECKPOINTS_SQL:
            self.checkpoints.extend((self.holder, *row[:4], row[4].obj, row[5].obj) for row in rows)
        elif statement in (
            PostgresSaver.UPSERT_CHECKPOINT_WRITES_SQL,
            PostgresSaver.INSERT_CHECKPOINT_WRITES_SQL,
        ):
            replaces = statement == PostgresSaver.UPSERT_CHECKPOINT_WRITES_SQL
            for row in rows:
                self.writes[(*row[:4], row[5])] = (self.holder, *row, replaces)
        else:
            raise NotImplementedError(f"LangGraph's saver writes with a statement unknown here: {statement}")


class RecordingSaver(PostgresSaver):
    """LangGraph's saver with a recording for its cursor.

    The one that waits, not the one for asyncio: nothing here has to be waited for, and that one takes a thread for
    each value that it encodes.
    """

    def __init__(self, recording: Recording, serde: SerializerProtocol) -> None:
        super().__init__(conn=None, serde=serde)  # type: ignore[arg-type]  # it is used by `_cursor` alone
        self._recording = recording

    @override
    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Cursor[DictRow]]:
        yield cast("Cursor[DictRow]", self._recording)  # the two methods of it that `put` and `put_writes` use


class CheckpointLog:
    """Commits recordings: all that wait in one statement, while the commit before is still under way.

    Each waiter is released after its own commit. One run's failed fence, or data that PostgreSQL refuses, fails
    only that run.
    """

    def __init__(self, pool: CheckpointPool, *, schema: str) -> None:
        self._pool = pool
        self._statement = PUT.format(schema=schema)
        self._waiting: list[Recording] = []
        self._flushers: set[asyncio.Task[None]] = set()

    async def commit(self, recording: Recording) -> None:
        """Write a recording and wait for its commit.

        Raises:
            LeaseLostError: The run is not running under this epoch any more.
            psycopg.Error: The database refused the data, or is away.
        """
        self._waiting.append(recording)
        # One that is done stays in the set until the loop's next turn, and takes no recording any more.
        if sum(not task.done() for task in self._flushers) < _IN_FLIGHT:
            task = asyncio.create_task(self._flush(), name="perron-checkpoints")
            self._flushers.add(task)
            task.add_done_callback(self._flushers.discard)
        await asyncio.shield(recording.committed)

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            await self._put(batch)

    async def _put(self, batch: list[Recording], *, is_again: bool = False) -> None:
        try:
            async with self._pool.connection() as connection:
                row = await (await connection.execute(self._statement, _arguments(batch), binary=True)).fetchone()
        except Exception as exc:  # noqa: BLE001  # handed to those who wait for it
            # An outage is nobody's fault in the batch: one by one they would wait for it one after the other.
            if is_outage(exc) or (len(batch) == 1 and (is_again or not is_passing(exc))):
                for recording in batch:
                    _settle(recording, exc)
                return
            for recording in batch:
                await self._put([recording], is_again=True)
            return
        lost: set[str] = set(row["lost"]) if row else set()
        for recording in batch:
            _settle(recording, _lost(recording) if recording.holder in lost else None)


def _settle(recording: Recording, error: BaseException | None) -> None:
    if recording.committed.done():
        return
    if error is None:
        recording.committed.set_result(None)
    else:
        recording.committed.set_exception(error)
        recording.committed.exception()  # its waiter may be cancelled: nobody has to fetch it


def _lost(recording: Recording) -> LeaseLostError:
    return LeaseLostError("Another worker has this run.", run_id=str(recording.run_id))


def _arguments(batch: list[Recording]) -> tuple[str, list[bytes]]:
    """Return the rows as JSON, by table, and the bytes that they point to."""
    blobs: list[bytes] = []
    content: dict[str, list[Any]] = {
        "runs": [{"run_id": str(r.run_id), "epoch": r.epoch, "applies": r.applies_input} for r in batch],
        "clears": [
            {"holder": r.holder, "thread_id": str(r.thread_id), "ns": r.clears_ns}
            for r in batch
            if r.clears_ns is not None
        ],
        "earlier": sorted({r.holder for r in batch if r.is_earlier}),
        "blobs": [_fields("blobs", row, blobs) for r in batch for row in r.blobs],
        "checkpoints": [_fields("checkpoints", row, blobs) for r in batch for row in r.checkpoints],
        "writes": [_fields("writes", row, blobs) for r in batch for row in r.writes.values()],
    }
    return json.dumps({table: rows for table, rows in content.items() if rows}), blobs


def _fields(table: str, row: Row, blobs: list[bytes]) -> dict[str, Any]:
    fields = dict(zip(_FIELDS[table], row, strict=True))
    if (data := fields.get("data")) is not None:
        blobs.append(data)
        fields["data"] = len(blobs)
    return fields
