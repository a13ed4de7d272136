"""`Platform`: the one object that Python callers and the command line use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from functools import partial
from types import TracebackType
from typing import Any, get_args
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command as GraphCommand
from langgraph.types import Send, StateSnapshot
from pydantic import ValidationError

from perron.caller import Caller
from perron.configuration import PlatformSettings, load_settings
from perron.core.event import HEARTBEAT, Event
from perron.core.opening import Opened, open_parts
from perron.core.result import RunResult, result_of
from perron.core.sync import SyncPlatform
from perron.database.outage import outlast
from perron.errors import ConfigurationError, InvalidInputError, RunGoneError, RunNotFoundError
from perron.ids import RunId, ThreadId
from perron.models.run import ACTIVE, CancelAction, Run
from perron.plugins.agent import Agent
from perron.plugins.calling import call_each
from perron.runtime.chores import Chores
from perron.runtime.claim import ClaimedRun
from perron.runtime.event_reader import START, EventReader
from perron.runtime.events import LAST_EVENT
from perron.runtime.finish import Outcome
from perron.runtime.inputs import check_input
from perron.runtime.packing import Position
from perron.runtime.readers import Presence, rings
from perron.runtime.state import ThreadStates
from perron.runtime.worker import Worker
from perron.schemas.run import OnDisconnect, RunCreate
from perron.services.agent import AgentService
from perron.services.agent_check import AgentCheckService
from perron.services.answer import Answer, Answers
from perron.services.ask import AskService
from perron.services.call import CallService
from perron.services.connection import ConnectionService
from perron.services.cron import CronService
from perron.services.cron_firing import CronFiring
from perron.services.event import EventService
from perron.services.health import HealthService
from perron.services.pause import PauseService
from perron.services.plugin import PluginService
from perron.services.pruning import PruneService
from perron.services.retention import Retention
from perron.services.run import RunService
from perron.services.run_reader import RunReaderService
from perron.services.storage import StorageService
from perron.services.thread import ThreadService
from perron.services.timeline import TimelineService
from perron.services.validation import as_invalid_input
from perron.services.webhook import WebhookService
from perron.services.webhook_sending import WebhookSending
from perron.services.worker import WorkerService

_EXPIRY_S = 60.0
_RETENTION_S = 600.0
_DIGITS = 9
"""Of the numbers in event ids: PostgreSQL keeps them as `integer`."""


class Platform:
    """An open platform: database, plugins, and a worker that executes runs on this event loop.

    Use `async with Platform.open() as platform`, or `platform = await Platform.open()` and `close()` in notebooks.
    """

    def __init__(self, opened: Opened, caller: Caller, *, with_worker: bool) -> None:
        self._opened = opened
        self.settings: PlatformSettings = opened.shared.settings
        self.registry = opened.shared.registry
        self.caller = caller
        """Who the methods here act for."""
        self.database_url = opened.url
        """The database in use, past a transaction pooler."""
        shared = opened.shared
        self.live_settings = opened.live_settings
        self.agents = AgentService(shared.database)
        self.agent_checks = AgentCheckService(
            shared.database, shared.registry, langgraph_schema=self.settings.langgraph_schema
        )
        self.plugins = PluginService(shared.database)
        self.threads = ThreadService(shared.database, self.settings)
        self.pruning = PruneService(shared.database, shared.pool, self.settings)
        self.storage = StorageService(shared.database, self.settings)
        self.runs = RunService(shared.database, self.settings, shared.registry, self.live_settings, shared.pauses)
        self.asks = AskService(shared.database)
        self.calls = CallService(shared.database)
        self.connections = ConnectionService(
            shared.database, shared.integrations, opened.keys, self.live_settings, shared.registry.integrations
        )
        self.pauses = PauseService(shared.database, shared.registry)
        self.crons = CronService(shared.database, shared.registry, self.runs)
        self.webhooks = WebhookService(shared.database)
        self.workers = WorkerService(shared.database)
        self.timelines = TimelineService(shared.database)
        self.health = HealthService(shared.database)
        self.states = ThreadStates(shared)
        self.run_readers = RunReaderService(shared.database, self.runs)
        self._reader = EventReader(shared.database, shared.readers, poll_s=self.settings.poll_s)
        self._worker: Worker | None = None
        if with_worker:
            self._worker = Worker(shared, url=opened.url, worker_id=opened.worker_id)
            self._chores = Chores(
                CronFiring(shared.database, shared.registry, self.runs).fire_due,
                WebhookSending(shared.database, self.settings).deliver_due,
                self.threads.delete_temporary,
                self.run_readers.cancel_deserted,
                EventService(shared.database).tidy,
                rare={
                    self.pruning.expire_due: _EXPIRY_S,
                    Retention(shared.database, self.settings).delete_old: _RETENTION_S,
                },
            )
        self._stack = AsyncExitStack()

    @classmethod
    def open(
        cls,
        settings: PlatformSettings | None = None,
        *,
        worker: bool = True,
        agents: Sequence[Agent] = (),
        caller: Caller | None = None,
        on_event: Callable[[str], None] | None = None,
        **overrides: Any,
    ) -> Opening:
        """Open a platform: `async with` it, or await it and `close()` it later.

        Args:
            settings: All settings; default: environment and `perron.toml`.
            worker: Execute runs in this process. Without, runs wait for another process.
            agents: Agents of the caller's own, beside the installed ones.
            caller: Who acts; default: the system in the setting `tenant`.
            on_event: Told, in a few words, what takes long (the embedded server's first start).
            overrides: Single settings, by name.

        Raises:
            ConfigurationError: A setting does not fit.
            DatabaseUnavailableError: PostgreSQL cannot be reached.
            SchemaError: Its schema is older than this release.
        """
        return Opening(cls, settings or load_settings(**overrides), worker, agents, caller, on_event)

    @classmethod
    def open_sync(
        cls,
        settings: PlatformSettings | None = None,
        *,
        worker: bool = True,
        agents: Sequence[Agent] = (),
        caller: Caller | None = None,
        on_event: Callable[[str], None] | None = None,
        **overrides: Any,
    ) -> SyncPlatform[Platform]:
        """Open a platform whose methods wait, for scripts without an event loop; the rest is as with `open`."""
        return SyncPlatform(
            lambda: cls.open(settings, worker=worker, agents=agents, caller=caller, on_event=on_event, **overrides)
        )

    @property
    def worker(self) -> Worker:
        """What executes runs in this process.

        Raises:
            ConfigurationError: The platform was opened without one.
        """
        if self._worker is None:
            raise ConfigurationError("This platform executes nothing: it was opened with worker=False.")
        return self._worker

    async def close(self) -> None:
        """Drain the worker, tell the plugins, and close what was opened, in reverse."""
        await self._stack.aclose()

    async def run(
        self,
        agent: str,
        input: Any = None,  # the SDK's word
        *,
        thread_id: UUID | str | None = None,
        on_disconnect: OnDisconnect = "continue",
        **options: Any,
    ) -> RunResult:
        """Run an agent and wait for the end; see `RunCreate` for the options (`config`, `context`, …).

        Args:
            on_disconnect: As in `stream`.

        Returns:
            The run as it ended, also in `error`: call `raise_for_status()` to have that raised.
        """
        presence = await self._presence(on_disconnect)
        created = await self._create(agent, input, thread_id=thread_id, presence=presence, **options)
        async with self.run_readers.reading(self.caller, created.run_id, presence):
            return await self._finished(created)

    async def submit(
        self,
        agent: str,
        input: Any = None,
        *,
        thread_id: UUID | str | None = None,
        **options: Any,
    ) -> UUID:
        """Put a run in line and return its id without waiting."""
        return (await self._create(agent, input, thread_id=thread_id, **options)).run_id

    async def join(self, run_id: UUID | str) -> RunResult:
        """Wait for the end of a run, wherever it executes."""
        return await self._finished(await self.runs.get(self.caller, _uuid(run_id, "run")))

    async def stream(
        self,
        agent: str,
        input: Any = None,
        *,
        thread_id: UUID | str | None = None,
        on_disconnect: OnDisconnect = "continue",
        heartbeat_s: float | None = None,
        **options: Any,
    ) -> AsyncGenerator[Event, None]:
        """Run an agent and yield its events; the last is `end`.

        Args:
            on_disconnect: What becomes of the run when the reader stops before the end, or its process dies: it
                goes on, or it is cancelled, which takes some seconds after a death.
            heartbeat_s: As in `follow`.
        """
        presence = await self._presence(on_disconnect)
        created = await self._create(agent, input, thread_id=thread_id, presence=presence, **options)
        async with self.run_readers.reading(self.caller, created.run_id, presence):
            async for event in self._events(created, START, heartbeat_s):
                yield event

    async def follow(
        self,
        run_id: UUID | str,
        *,
        after: str = "",
        cancel_on_disconnect: bool = False,
        heartbeat_s: float | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Yield a run's events, from the beginning or behind the event id `after`, until it ends.

        Args:
            after: The SDK's `Last-Event-ID`; `-1`, `0` and `-` are the beginning too.
            cancel_on_disconnect: Cancel the run when this reader stops before the end, or its process dies.
            heartbeat_s: Yield an event `heartbeat` when nothing has come for so long.

        Raises:
            EventsGoneError: They are not kept any more: see `stream_resumable`.
            InvalidInputError: The run has no such event.
        """
        position = _position(after)
        run = await self.runs.get(self.caller, _uuid(run_id, "run"))
        if position > START:
            await self._reader.check(self.caller, RunId(run.run_id), position)
        presence = await self._presence("cancel" if cancel_on_disconnect else "continue")
        if presence is not None:
            await self.run_readers.enter(run.run_id, presence)
        async with self.run_readers.reading(self.caller, run.run_id, presence):
            async for event in self._events(run, position, heartbeat_s):
                yield event

    async def resume(self, thread_id: UUID | str, answers: Answers) -> RunResult:
        """Answer asks of a thread, by ask id, and run it on.

        Raises:
            NotWaitingError: One of them does not wait (any more).
            InvalidInputError: A decision that an ask does not offer, a value that does not fit, or no id.
        """
        by_id = {_uuid(ask_id, "ask"): answer for ask_id, answer in answers.items()}
        thread = await self.threads.get(self.caller, _uuid(thread_id, "thread"))
        body = RunCreate(assistant_id=str(thread.metadata_.get("assistant_id")), thread_id=thread.thread_id)
        return await self._finished(await self._put_in_line(body, answers=by_id))

    async def retry(self, run_id: UUID | str) -> RunResult:
        """Run a failed or cancelled run on from where it stopped; of one that is in line, wait for the end."""
        body = await self.runs.prepare_retry(self.caller, _uuid(run_id, "run"))
        return await self.join(run_id) if body is None else await self._finished(await self._put_in_line(body))

    async def cancel(self, run_id: UUID | str, *, action: CancelAction = "interrupt") -> Run | None:
        """Cancel a run; one that another process executes stops at that process's next look.

        `interrupt` keeps what it has done. `rollback` takes that back, and the run is gone: None is returned when
        it is so already, RunGoneError raised to those that wait for it.

        Raises:
            RunEndedError: It has ended already.
        """
        run = await self.runs.cancel(self.caller, _uuid(run_id, "run"), action=action)
        if self._worker is not None:
            self._worker.nudge()
        return run

    async def state(self, thread_id: UUID | str, *, checkpoint_id: str | None = None) -> StateSnapshot:
        """Return a thread's state, the newest or that of a checkpoint.

        Raises:
            CheckpointNotFoundError: The thread does not have that one.
        """
        thread, graph_id = await self._graph_of(thread_id)
        return await self.states.get(thread, graph_id, checkpoint_id=checkpoint_id)

    async def history(
        self, thread_id: UUID | str, *, limit: int = 10, before: str | None = None
    ) -> list[StateSnapshot]:
        """Return a thread's states, newest first."""
        thread, graph_id = await self._graph_of(thread_id)
        return await self.states.get_history(thread, graph_id, limit=limit, before=before)

    async def update_state(
        self,
        thread_id: UUID | str,
        values: Any,
        *,
        as_node: str | None = None,
        checkpoint_id: str | None = None,
    ) -> RunnableConfig:
        """Write a state as if a node had returned `values`; with `checkpoint_id` a fork from there.

        Raises:
            ThreadBusyError: A run of the thread is in line.
            CheckpointMovedError: Somebody else has written meanwhile.
            CheckpointNotFoundError: The thread does not have that one.
        """
        thread, graph_id = await self._graph_of(thread_id)
        return await self.states.update(thread, graph_id, values, as_node=as_node, checkpoint_id=checkpoint_id)

    async def copy_thread(self, thread_id: UUID | str) -> UUID:
        """Copy a thread with all its checkpoints and return the copy's id.

        The copy has no runs, and nothing waits in it. Of a thread that waits for a person, a run without input
        asks again there; the thread itself stays as it is. See `ThreadService.copy`.

        Raises:
            ThreadBusyError: A run of the thread is in line.
        """
        return (await self.threads.copy(self.caller, _uuid(thread_id, "thread"))).thread_id

    async def _presence(self, on_disconnect: str) -> Presence | None:
        if on_disconnect not in get_args(OnDisconnect):
            raise InvalidInputError(f"on_disconnect takes cancel or continue, not {on_disconnect!r}.")
        if on_disconnect == "continue":
            return None
        return await self._opened.shared.readers.presence(timeout_s=self.settings.database_timeout_s)

    async def _events(self, run: Run, after: Position, heartbeat_s: float | None) -> AsyncGenerator[Event, None]:
        read_state = partial(self.states.values_of, ThreadId(run.thread_id), run.graph_id)
        rows = self._reader.follow(
            self.caller, RunId(run.run_id), after=after, heartbeat_s=heartbeat_s, read_state=read_state
        )
        async with aclosing(rows):
            async for row in rows:
                if row is None:
                    yield Event(id="", event=HEARTBEAT, namespace="", data=None)
                else:
                    yield Event(f"{row.epoch}-{row.n}", row.event, row.namespace, row.payload)
                    if row.event == LAST_EVENT:
                        return
        await self._get_again(run.run_id)

    async def _create(
        self,
        agent: str,
        given: Any,
        *,
        thread_id: UUID | str | None,
        presence: Presence | None = None,
        **options: Any,
    ) -> Run:
        if isinstance(given, GraphCommand):
            given, options["command"] = None, _wire(given)
        try:
            body = RunCreate(
                assistant_id=agent,
                thread_id=None if thread_id is None else _uuid(thread_id, "thread"),
                input=given,
                **options,
            )
        except ValidationError as exc:
            raise as_invalid_input(exc) from None
        return await self._put_in_line(body, presence=presence)

    async def _put_in_line(
        self, body: RunCreate, *, answers: Mapping[UUID, Answer] | None = None, presence: Presence | None = None
    ) -> Run:
        registered = self.registry.agents.get(body.assistant_id)
        if registered is not None and registered.agent is not None:
            await check_input(registered.agent, body.input)
        if (worker := self._worker) is None:
            return await self.runs.create(self.caller, body, answers=answers, presence=presence)
        with worker.room() as worker_id:
            run = await self.runs.create(
                self.caller, body, answers=answers, worker_id=worker_id, presence=presence
            )
            is_ours = run.status == "running" and run.epoch == 1 and run.worker_id == worker.worker_id
            if is_ours and worker.task_of(RunId(run.run_id)) is None:
                worker.execute(ClaimedRun.of(run))
            return run

    async def _finished(self, run: Run) -> RunResult:
        run_id = RunId(run.run_id)
        readers = self._opened.shared.readers
        has_looked = False
        with readers.waiting(run_id, only_for_end=True) as rung:
            while run.status in ACTIVE:
                task = self._worker.task_of(run_id) if self._worker else None
                if task is not None:
                    await asyncio.wait([task])
                    if (result := _result_here(run, task)) is not None:
                        return result
                elif readers.listen() or has_looked:  # what ends before news come in is found by a first look
                    await rings(rung, self.settings.poll_s)
                rung.clear()
                has_looked = True
                run = await outlast(partial(self._get_again, run_id), pause_s=self.settings.poll_s)
        return result_of(run, self.resume)

    async def _get_again(self, run_id: UUID) -> Run:
        """Return a run that was there before.

        Raises:
            RunGoneError: It is not there any more.
        """
        try:
            return await self.runs.get(self.caller, run_id)
        except RunNotFoundError:
            raise RunGoneError(run_id) from None

    async def _graph_of(self, thread_id: UUID | str) -> tuple[ThreadId, str]:
        thread = await self.threads.get(self.caller, _uuid(thread_id, "thread"))
        graph_id = thread.metadata_.get("graph_id")
        if not graph_id:
            raise InvalidInputError(f"The thread {thread.thread_id} has no agent yet: run one on it first.")
        return ThreadId(thread.thread_id), graph_id

    async def _start(self) -> None:
        await self.agents.register(self.registry)
        await call_each(self.registry, "perron_startup", host=self)
        await self.plugins.register(self.registry)  # last: a start may have failed
        self._stack.push_async_callback(call_each, self.registry, "perron_shutdown", host=self)
        if self._worker is not None:
            await self._worker.start()
            self._stack.push_async_callback(self._worker.stop)
            self._chores.start()
            self._stack.push_async_callback(self._chores.stop)

    async def _enter(self, parts: AbstractAsyncContextManager[Opened]) -> None:
        """Take over what was opened, so that `close` closes it last."""
        self._stack.push_async_exit(parts)
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise


class Opening:
    """What `Platform.open` returns: to be awaited, or entered with `async with`."""

    def __init__(
        self,
        platform: type[Platform],
        settings: PlatformSettings,
        worker: bool,  # private: made by Platform.open
        agents: Sequence[Agent],
        caller: Caller | None,
        on_event: Callable[[str], None] | None,
    ) -> None:
        self._platform = platform
        self._settings = settings
        self._worker = worker
        self._agents = agents
        self._caller = caller or Caller.system(settings.tenant)
        self._on_event = on_event
        self._opened: Platform | None = None

    def __await__(self) -> Generator[Any, None, Platform]:
        return self._open().__await__()

    async def __aenter__(self) -> Platform:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def _open(self) -> Platform:
        parts = open_parts(self._settings, agents=self._agents, on_event=self._on_event)
        opened = await parts.__aenter__()
        platform = self._platform(opened, self._caller, with_worker=self._worker)
        await platform._enter(parts)  # noqa: SLF001  # the two classes are one thing in two states
        return platform


def _result_here(run: Run, task: asyncio.Task[Outcome | None]) -> RunResult | None:
    """Read the result of a run that ended in this process without asks: most of them need no further query."""
    outcome = None if task.cancelled() or task.exception() is not None else task.result()
    if outcome is None or outcome.asks:
        return None
    return RunResult(
        run_id=run.run_id,
        thread_id=run.thread_id,
        graph_id=run.graph_id,
        status=outcome.status,
        output=outcome.output,
        error=outcome.error,
        waiting=(),
    )


def _wire(command: GraphCommand[Any]) -> dict[str, Any]:
    """Write LangGraph's command as the SDK's."""
    goto = command.goto if isinstance(command.goto, Sequence) else [command.goto]
    targets = [goto] if isinstance(goto, str) else list(goto)
    sent = [{"node": t.node, "input": t.arg} if isinstance(t, Send) else t for t in targets]
    return {"update": command.update, "resume": command.resume, "goto": sent}


def _uuid(value: UUID | str, kind: str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except ValueError:
        raise InvalidInputError(f"{value!r} is no {kind} id: ids are UUIDs, as the lists show them.") from None


def _position(event_id: str) -> Position:
    if event_id in ("", "-1", "0", "-"):
        return START
    epoch, _, n = event_id.partition("-")
    if not _is_number(epoch) or not _is_number(n):
        raise InvalidInputError(f"{event_id!r} is no event id: they look like 1-42.")
    return int(epoch), int(n)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS
