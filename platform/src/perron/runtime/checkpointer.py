"""LangGraph's Postgres saver, fenced: what a worker that was taken for dead writes does not commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol
from uuid import UUID

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.base import id as checkpoint_ids
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncCursor
from psycopg.rows import DictRow
from typing_extensions import override

from perron import failpoints
from perron.database.checkpoint_pool import CheckpointPool
from perron.errors import CheckpointNotFoundError
from perron.ids import RunId, ThreadId
from perron.runtime.checkpoint_log import CheckpointLog, Recording, RecordingSaver
from perron.runtime.stored import check_writes, fit_for_jsonb

_writing: ContextVar[str | None] = ContextVar("perron_checkpoint_ns", default=None)


class Fence(Protocol):
    """The first statement of every pipeline, and what follows from a checkpoint that was written."""

    async def guard(self, cursor: AsyncCursor[DictRow], checkpoint_ns: str | None) -> None:
        """Raise in the pipeline unless its writes may commit; `checkpoint_ns`: the checkpoint's that it holds."""

    def recording(
        self, checkpoint_ns: str, checkpoint_id: str, *, is_new: bool = False, applies: bool = False
    ) -> Recording:
        """Return what takes the statements of a pipeline that goes through the log, under this fence.

        The checkpoint is the one that they write to; `is_new`: that they make; `applies`: that ends a step.
        """

    def reading(self, checkpoint_ns: str) -> None:
        """A graph opened this namespace."""

    def is_empty(self, checkpoint_ns: str) -> bool:
        """Whether there is nothing to read in this namespace, for certain."""

    def loaded(self, checkpoint_ns: str, channels: Mapping[str, Any]) -> None:
        """A graph is about to go on from this checkpoint; raises what there is against that."""

    def written(self, checkpoint_ns: str, checkpoint_id: str) -> None:
        """A pipeline has committed; `checkpoint_id` is empty when it held no checkpoint."""

    def failed(self, error: psycopg.Error) -> None:
        """The database refused or did not answer."""


class RunFence(Fence):
    """Lets a run write as long as it is `running` under this epoch.

    The first pipeline of a run also sets `input_applied`: by a guarded UPDATE instead of the share lock, since
    sharing first and updating then deadlocks with a waiting claim.
    """

    def __init__(
        self,
        run_id: RunId,
        epoch: int,
        *,
        thread_id: ThreadId,
        schema: str,
        input_applied: bool,
        is_empty: bool = False,
    ) -> None:
        """Take the run; `is_empty` says that its thread had no checkpoint when the run was claimed."""
        self._run_id = run_id
        self._epoch = epoch
        self._thread_id = thread_id
        self._schema = schema
        self._input_applied = input_applied
        self.refuse: Callable[[str, Mapping[str, Any]], None] | None = None
        """Looks at the checkpoints, by namespace and channels, that the run goes on from; None where it begins."""
        self._is_empty = is_empty
        self._written: set[str] = set()
        self._own: dict[str, str] = {}
        """By namespace: the newest checkpoint that this execution has begun to write."""
        self.namespaces: set[str] = set()
        """Namespaces whose graphs write checkpoints."""
        self.sealed_namespaces: set[str] = set()
        """Namespaces in which calls have sealed responses that the next checkpoint makes needless."""
        self.clears_all = False
        """A takeover or a resume: calls of tasks that ended before, and are not run again, may have left sealed
        responses in any namespace."""
        self.failure: psycopg.Error | None = None
        """What the database last refused: tells an outage of ours from one of the author's own database."""
        self.checkpoint_id: str | None = None
        """The newest checkpoint of the root graph that this execution wrote."""

    @override
    async def guard(self, cursor: AsyncCursor[DictRow], checkpoint_ns: str | None) -> None:
        if not failpoints.hit("fence"):
            statement = "fence" if self._input_applied else "fence_apply"
            await cursor.execute(f"SELECT {self._schema}.{statement}(%s, %s)", (self._run_id, self._epoch))
        if self._clears(checkpoint_ns):
            await cursor.execute(
                f"UPDATE {self._schema}.calls SET sealed = NULL"  # noqa: S608  # a checked identifier
                " WHERE thread_id = %s AND checkpoint_ns = %s AND sealed IS NOT NULL",
                (self._thread_id, checkpoint_ns),
            )

    @override
    def reading(self, checkpoint_ns: str) -> None:
        self.namespaces.add(checkpoint_ns)

    @override
    def is_empty(self, checkpoint_ns: str) -> bool:
        return self._is_empty and checkpoint_ns not in self._written

    @override
    def loaded(self, checkpoint_ns: str, channels: Mapping[str, Any]) -> None:
        if self.refuse is not None:
            self.refuse(checkpoint_ns, channels)

    @override
    def recording(
        self, checkpoint_ns: str, checkpoint_id: str, *, is_new: bool = False, applies: bool = False
    ) -> Recording:
        if is_new:
            self._own[checkpoint_ns] = checkpoint_id
        return Recording(
            self._run_id,
            self._epoch,
            self._thread_id,
            applies_input=not self._input_applied,
            clears_ns=checkpoint_ns if applies and self._clears(checkpoint_ns) else None,
            is_earlier=self._own.get(checkpoint_ns) != checkpoint_id,
        )

    @override
    def failed(self, error: psycopg.Error) -> None:
        self.failure = error

    @override
    def written(self, checkpoint_ns: str, checkpoint_id: str) -> None:
        self._input_applied = True
        self._written.add(checkpoint_ns)
        if checkpoint_id:
            self.sealed_namespaces.discard(checkpoint_ns)
        if checkpoint_id and not checkpoint_ns:
            self.checkpoint_id = checkpoint_id

    def _clears(self, checkpoint_ns: str | None) -> bool:
        return checkpoint_ns is not None and (self.clears_all or checkpoint_ns in self.sealed_namespaces)


class ThreadFence(Fence):
    """Lets `update_state`, a fork or a copy write while no run is active and nobody else has written."""

    def __init__(
        self,
        thread_id: ThreadId,
        checkpoint_id: str | None,
        *,
        schema: str,
        langgraph_schema: str,
        start: str | None = None,
    ) -> None:
        """Take the thread and its newest checkpoint; `start` is the one that a fork goes on from."""
        self._thread_id = thread_id
        self._checkpoint_id = checkpoint_id
        self._schema = schema
        self._langgraph_schema = langgraph_schema
        self._start = start

    @override
    async def guard(self, cursor: AsyncCursor[DictRow], checkpoint_ns: str | None) -> None:
        await cursor.execute(f"SELECT {self._schema}.fence_thread(%s, %s)", (self._thread_id, self._checkpoint_id))
        if self._start is None:
            return
        # The fence holds the thread's lock now: a prune is over, and has taken what the fork refers to, or waits.
        await cursor.execute(
            f"SELECT FROM {self._langgraph_schema}.checkpoints"
            " WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id = %s",
            (str(self._thread_id), self._start),
        )
        if await cursor.fetchone() is None:
            raise CheckpointNotFoundError(self._thread_id, self._start)

    @override
    def reading(self, checkpoint_ns: str) -> None:
        pass

    @override
    def is_empty(self, checkpoint_ns: str) -> bool:
        return False

    @override
    def loaded(self, checkpoint_ns: str, channels: Mapping[str, Any]) -> None:
        pass

    @override
    def recording(
        self, checkpoint_ns: str, checkpoint_id: str, *, is_new: bool = False, applies: bool = False
    ) -> Recording:
        raise NotImplementedError("A thread's own writes go in a pipeline of their own.")

    @override
    def failed(self, error: psycopg.Error) -> None:
        pass

    @override
    def written(self, checkpoint_ns: str, checkpoint_id: str) -> None:
        if not checkpoint_ns and checkpoint_id:
            self._checkpoint_id, self._start = checkpoint_id, None


class FencedSaver(AsyncPostgresSaver):
    """One per run over a shared pool: the stock saver takes one lock around all its operations.

    LangGraph clones savers (`with_allowlist`), so what belongs to the run lives in the fence, not here.
    """

    def __init__(self, pool: CheckpointPool, fence: Fence, log: CheckpointLog | None = None) -> None:
        """Take the pool, the fence, and the log that commits the writes of several runs together, for runs."""
        super().__init__(pool)
        self.fence = fence
        self._pool = pool
        self._log = log

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        try:
            async with super()._cursor(pipeline=pipeline) as cursor:
                if pipeline:
                    await self.fence.guard(cursor, _writing.get())
                yield cursor
        except psycopg.Error as exc:
            self.fence.failed(exc)
            raise

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Write a checkpoint under the fence."""
        checkpoint_ns = config["configurable"]["checkpoint_ns"]
        checkpoint = {**checkpoint, "channel_values": fit_for_jsonb(checkpoint["channel_values"])}
        # Only the checkpoint of a step applies it: new input leaves a waiting step behind, and the answers of its
        # calls are what shows that they were made.
        applies = metadata.get("source") == "loop"
        failpoints.hit("checkpoint.before")
        if self._log is None or failpoints.hit("fence"):
            token = _writing.set(checkpoint_ns if applies else None)
            try:
                written = await super().aput(config, checkpoint, metadata, new_versions)
            finally:
                _writing.reset(token)
        else:
            recording = self.fence.recording(checkpoint_ns, checkpoint["id"], is_new=True, applies=applies)
            written = RecordingSaver(recording, self.serde).put(config, checkpoint, metadata, new_versions)
            await self._commit(self._log, recording)
        failpoints.hit("checkpoint.after")
        self.fence.written(checkpoint_ns, checkpoint["id"])
        return written

    async def aput_writes(self, config: RunnableConfig, writes: Any, task_id: str, task_path: str = "") -> None:
        """Write a task's results under the fence.

        Raises:
            AgentError: They would come back as something else.
        """
        check_writes(writes, self.serde)
        onto = config["configurable"]
        failpoints.hit("writes.before")
        if self._log is None or failpoints.hit("fence"):
            await super().aput_writes(config, writes, task_id, task_path)
        else:
            recording = self.fence.recording(onto["checkpoint_ns"], onto["checkpoint_id"])
            RecordingSaver(recording, self.serde).put_writes(config, writes, task_id, task_path)
            await self._commit(self._log, recording)
        self.fence.written(onto["checkpoint_ns"], "")

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints under the fence, in a pipeline of its own: the log only writes."""
        if self._log is None:
            await super().adelete_thread(thread_id)
        else:
            await FencedSaver(self._pool, self.fence).adelete_thread(thread_id)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Load a checkpoint, and see that the ids of later ones sort after it."""
        checkpoint_ns = config["configurable"].get("checkpoint_ns", "")
        self.fence.reading(checkpoint_ns)
        if self.fence.is_empty(checkpoint_ns) and "checkpoint_id" not in config["configurable"]:
            return None
        found = await super().aget_tuple(config)
        if found is not None:
            self.fence.loaded(checkpoint_ns, found.checkpoint["channel_values"])
            sort_after(found.checkpoint["id"])
        return found

    async def _commit(self, log: CheckpointLog, recording: Recording) -> None:
        try:
            await log.commit(recording)
        except psycopg.Error as exc:
            self.fence.failed(exc)
            raise


def sort_after(checkpoint_id: str) -> None:
    """Make this process's next checkpoint id greater than this one.

    "Latest" is the greatest uuid6 by the writer's wall clock: a worker with a slow clock would otherwise write
    checkpoints that nobody finds.
    """
    stamp = checkpoint_ids.UUID(UUID(checkpoint_id).hex).time
    if stamp > (checkpoint_ids._last_v6_timestamp or 0):  # noqa: SLF001  # the generator offers no other way
        checkpoint_ids._last_v6_timestamp = stamp  # type: ignore[assignment]  # noqa: SLF001  # it says None
