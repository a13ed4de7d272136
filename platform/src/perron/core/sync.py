"""A platform for scripts: the event loop runs in a thread of its own, and every method waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from perron.core.event import Event
from perron.core.result import EndedRun, RunResult, Waiting
from perron.models.run import CancelAction, Run
from perron.services.answer import Answers

T = TypeVar("T")
Id = UUID | str


class AsyncPlatform(Protocol):
    """What a script uses of `Platform`, whose docstrings say what each method does."""

    async def run(
        self, agent: str, input: Any = None, *, thread_id: Id | None = None, **options: Any
    ) -> RunResult:
        """Run an agent and wait."""

    async def submit(self, agent: str, input: Any = None, *, thread_id: Id | None = None, **options: Any) -> UUID:
        """Put a run in line."""

    async def join(self, run_id: Id) -> RunResult:
        """Wait for a run."""

    def stream(
        self, agent: str, input: Any = None, *, thread_id: Id | None = None, **options: Any
    ) -> AsyncGenerator[Event, None]:
        """Run an agent and yield its events."""

    def follow(
        self, run_id: Id, *, after: str = "", cancel_on_disconnect: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Yield a run's events."""

    async def resume(self, thread_id: Id, answers: Answers) -> RunResult:
        """Answer asks."""

    async def retry(self, run_id: Id) -> RunResult:
        """Run a failed run on."""

    async def cancel(self, run_id: Id, *, action: CancelAction = "interrupt") -> Run | None:
        """Cancel a run."""

    async def state(self, thread_id: Id, *, checkpoint_id: str | None = None) -> StateSnapshot:
        """Return a thread's state."""

    async def history(self, thread_id: Id, *, limit: int = 10, before: str | None = None) -> list[StateSnapshot]:
        """Return a thread's states."""

    async def update_state(
        self, thread_id: Id, values: Any, *, as_node: str | None = None, checkpoint_id: str | None = None
    ) -> RunnableConfig:
        """Write a state."""

    async def copy_thread(self, thread_id: Id) -> UUID:
        """Copy a thread."""

    async def close(self) -> None:
        """Close it."""


P = TypeVar("P", bound=AsyncPlatform)


@dataclass(frozen=True, slots=True)
class SyncRunResult(EndedRun["SyncRunResult"]):
    """A run as it ended; answers to what it waits for return the next result."""


class SyncPlatform(Generic[P]):
    """A platform whose methods wait; `with Platform.open_sync() as platform`, or `close()` it."""

    def __init__(self, opening: Callable[[], Awaitable[P]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="perron-loop", daemon=True)
        self._thread.start()
        try:
            self.platform: P = self.wait(opening())
            """The platform itself: give `wait` what its services return, as in `wait(platform.asks.search(…))`."""
        except BaseException:
            self._stop()
            raise

    def wait(self, work: Awaitable[T]) -> T:
        """Let the platform's loop do something, and return what comes of it."""

        async def done() -> T:
            return await work

        future = asyncio.run_coroutine_threadsafe(done(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C: the run itself goes on until the platform is closed
            raise

    def close(self) -> None:
        """Drain the worker and close what was opened."""
        if self._thread.is_alive():
            try:
                self.wait(self.platform.close())
            finally:
                self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(self, agent: str, input: Any = None, *, thread_id: Id | None = None, **options: Any) -> SyncRunResult:
        """Run an agent and wait for the end."""
        return self._result(self.platform.run(agent, input, thread_id=thread_id, **options))

    def submit(self, agent: str, input: Any = None, *, thread_id: Id | None = None, **options: Any) -> UUID:
        """Put a run in line and return its id without waiting."""
        return self.wait(self.platform.submit(agent, input, thread_id=thread_id, **options))

    def join(self, run_id: Id) -> SyncRunResult:
        """Wait for the end of a run, wherever it executes."""
        return self._result(self.platform.join(run_id))

    def stream(
        self, agent: str, input: Any = None, *, thread_id: Id | None = None, **options: Any
    ) -> Iterator[Event]:
        """Run an agent and yield its events; the last is `end`. See `Platform.stream`."""
        return self._each(self.platform.stream(agent, input, thread_id=thread_id, **options))

    def follow(self, run_id: Id, *, after: str = "", cancel_on_disconnect: bool = False) -> Iterator[Event]:
        """Yield a run's events, from the beginning or behind the event id `after`, until it ends."""
        return self._each(self.platform.follow(run_id, after=after, cancel_on_disconnect=cancel_on_disconnect))

    def resume(self, thread_id: Id, answers: Answers) -> SyncRunResult:
        """Answer asks of a thread, by ask id, and run it on."""
        return self._result(self.platform.resume(thread_id, answers))

    def retry(self, run_id: Id) -> SyncRunResult:
        """Run a failed or cancelled run on from where it stopped."""
        return self._result(self.platform.retry(run_id))

    def cancel(self, run_id: Id, *, action: CancelAction = "interrupt") -> Run | None:
        """Cancel a run."""
        return self.wait(self.platform.cancel(run_id, action=action))

    def state(self, thread_id: Id, *, checkpoint_id: str | None = None) -> StateSnapshot:
        """Return a thread's state, the newest or that of a checkpoint."""
        return self.wait(self.platform.state(thread_id, checkpoint_id=checkpoint_id))

    def history(self, thread_id: Id, *, limit: int = 10, before: str | None = None) -> list[StateSnapshot]:
        """Return a thread's states, newest first."""
        return self.wait(self.platform.history(thread_id, limit=limit, before=before))

    def update_state(
        self, thread_id: Id, values: Any, *, as_node: str | None = None, checkpoint_id: str | None = None
    ) -> RunnableConfig:
        """Write a state as if a node had returned `values`; with `checkpoint_id` a fork from there."""
        work = self.platform.update_state(thread_id, values, as_node=as_node, checkpoint_id=checkpoint_id)
        return self.wait(work)

    def copy_thread(self, thread_id: Id) -> UUID:
        """Copy a thread with all its checkpoints and return the copy's id."""
        return self.wait(self.platform.copy_thread(thread_id))

    def _each(self, events: AsyncGenerator[Event, None]) -> Iterator[Event]:
        try:
            while (event := self.wait(anext(events, None))) is not None:
                yield event
        finally:  # also of a reader that stops: what it takes along is to be seen to now
            self.wait(events.aclose())

    def _result(self, work: Awaitable[RunResult]) -> SyncRunResult:
        result = self.wait(work)
        return SyncRunResult(
            run_id=result.run_id,
            thread_id=result.thread_id,
            graph_id=result.graph_id,
            status=result.status,
            output=result.output,
            error=result.error,
            waiting=tuple(self._waiting(ask) for ask in result.waiting),
        )

    def _waiting(self, ask: Waiting) -> Waiting[SyncRunResult]:
        return Waiting(
            id=ask.id,
            thread_id=ask.thread_id,
            kind=ask.kind,
            question=ask.question,
            args=ask.args,
            decisions=ask.decisions,
            schema=ask.schema,
            _answer=lambda answer: self._result(ask.answer(answer.decision, answer.value)),
        )

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
