"""Rules of runs: creating, cancelling, retrying."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, get_args
from uuid import UUID

from perron import clock
from perron.caller import Caller
from perron.configuration import PlatformSettings
from perron.database.encoding import clean, dumps
from perron.database.engine import Database, Session
from perron.database.outage import UNIQUE_VIOLATION, DatabaseError, sqlstate
from perron.errors import (
    AssistantNotFoundError,
    CheckpointNotFoundError,
    InvalidInputError,
    NotWaitingError,
    RunEndedError,
    ThreadBusyError,
    ThreadNotFoundError,
)
from perron.ids import WorkerId, new_id, system_assistant_id
from perron.integrations.run.pauses import Pauses
from perron.models.assistant import Assistant
from perron.models.run import ACTIVE, CancelAction, Run, RunFilter
from perron.models.run_reader import RunReader
from perron.models.thread import Thread
from perron.plugins.registry import Registry
from perron.repositories.assistant import AssistantRepository
from perron.repositories.checkpoint import CheckpointRepository
from perron.repositories.run import RunRepository
from perron.repositories.run_reader import RunReaderRepository
from perron.repositories.thread import ThreadRepository
from perron.runtime.readers import Presence
from perron.schemas.run import RunCreate
from perron.services.answer import Answer
from perron.services.closing import closed_asks, store_answers, with_resume
from perron.services.filter import check_filter
from perron.services.setting import SettingService
from perron.services.stopping import stop
from perron.services.thread_ttl import default_ttl
from perron.services.webhook_address import check_webhook

_RESERVED = ("thread_id", "run_id", "graph_id", "assistant_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")


class RunService:
    """Runs of callers; each method is one short transaction."""

    def __init__(
        self,
        database: Database,
        settings: PlatformSettings,
        registry: Registry,
        live_settings: SettingService,
        pauses: Pauses,
    ) -> None:
        self._database = database
        self._settings = settings
        self._registry = registry
        self._live_settings = live_settings
        self._pauses = pauses

    async def create(
        self,
        caller: Caller,
        body: RunCreate,
        *,
        answers: Mapping[UUID, Answer] | None = None,
        worker_id: WorkerId | None = None,
        presence: Presence | None = None,
    ) -> Run:
        """Put a run in its thread's line; with `worker_id` it starts as claimed by it when it is the due head
        of an agent that is not paused.

        `answers` close asks of the thread, by ask id, in the same transaction; `presence` is who reads the run,
        and cancels it by their disconnect.

        Raises:
            AgentNotFoundError, AssistantNotFoundError, ThreadNotFoundError: No such thing for this caller.
            CheckpointNotFoundError: The thread does not have the one to start from.
            InvalidInputError: Input or answers are too large, or there is no input to start with; an answer does
                not fit.
            NotWaitingError: A resume of something that does not wait.
            ThreadBusyError: A resume while a run is active, or the strategy `reject`.
        """
        insert = await self.prepare(caller, body, answers=answers, worker_id=worker_id, presence=presence)
        # A run on a thread of its own is one INSERT: nobody else knows of either.
        is_new = body.thread_id is None and body.idempotency_key is None
        try:
            return await self._database.run(insert, autocommit=is_new and presence is None)
        except DatabaseError as exc:
            if sqlstate(exc) != UNIQUE_VIOLATION:
                raise
        return await self._database.run(insert)  # somebody else made the thread, or a run with this key, meanwhile

    async def prepare(
        self,
        caller: Caller,
        body: RunCreate,
        *,
        answers: Mapping[UUID, Answer] | None = None,
        worker_id: WorkerId | None = None,
        presence: Presence | None = None,
    ) -> Callable[[Session], Awaitable[Run]]:
        """Do of `create` what needs no transaction; what is returned does the rest in one of the caller's.

        That may be called again when its transaction has to be.

        Raises:
            AgentNotFoundError, AssistantNotFoundError: No such thing for this caller.
            InvalidInputError: Input or answers are too large, or the webhook's address is not one to send to.
        """
        assistant = await self._assistant(caller, body.assistant_id)
        graph_id = assistant.graph_id if assistant else body.assistant_id
        frozen = await self._live_settings.frozen(caller, graph_id)
        kwargs, was_changed = self._kwargs(body, assistant, frozen)
        if body.webhook is not None:
            await check_webhook(body.webhook, allow_private=self._settings.webhook_allow_private)
        if answers:
            subject = "The answer is" if len(answers) == 1 else "The answers are"
            self._require_size(subject, [answer.value for answer in answers.values()])
        registered = self._registry.agents.get(graph_id)
        if self._pauses.of_agent(caller.tenant, graph_id) is not None:
            worker_id = None

        async def insert(session: Session) -> Run:
            run = Run(  # made here: a transaction that is tried again must find nothing of the one before
                run_id=new_id(),
                assistant_id=assistant.assistant_id if assistant else system_assistant_id(graph_id),
                graph_id=graph_id,
                agent_version=registered.version if registered else None,
                tenant=caller.tenant,
                owner=caller.principal,
                created_by=caller.principal,
                kwargs=kwargs,
                metadata_=clean(body.metadata)[0],
                is_sanitised=was_changed,
                priority=body.priority,
                multitask_strategy=body.multitask_strategy,
                webhook=body.webhook,
                idempotency_key=body.idempotency_key,
                not_before=clock.now() + timedelta(seconds=body.after_seconds) if body.after_seconds else None,
            )
            run = await self._insert(session, caller, body, run, answers, worker_id)
            if presence is not None:
                reader = RunReader(
                    reader_id=presence.reader_id, run_id=run.run_id, process_key=presence.process_key
                )
                await RunReaderRepository(session, caller).create(reader)
            return run

        return insert

    async def get(self, caller: Caller, run_id: UUID) -> Run:
        """Return the run with its asks."""
        async with self._database.begin(autocommit=True) as session:
            return await RunRepository(session, caller).get_with_asks(run_id)

    async def search(
        self,
        caller: Caller,
        *,
        thread_id: UUID | None = None,
        status: str | None = None,
        graph_id: str | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[Run]:
        """Return a page, newest first; `status` may also be `waiting`: see `RunFilter`.

        Raises:
            InvalidInputError: There is no such status.
        """
        check_filter("status", "runs", status, get_args(RunFilter))
        async with self._database.begin() as session:
            runs = RunRepository(session, caller)
            query = runs.matching(thread_id=thread_id, status=status, graph_id=graph_id)
            return await runs.get_all(limit, offset=offset, query=query)

    async def stream(
        self,
        caller: Caller,
        *,
        thread_id: UUID | None = None,
        status: str | None = None,
        graph_id: str | None = None,
    ) -> AsyncIterator[Run]:
        """Yield all runs that `search` finds, newest first, in little memory however many they are.

        Raises:
            InvalidInputError: There is no such status.
        """
        check_filter("status", "runs", status, get_args(RunFilter))
        async with self._database.begin() as session:
            runs = RunRepository(session, caller)
            async for run in runs.stream(runs.matching(thread_id=thread_id, status=status, graph_id=graph_id)):
                yield run

    async def cancel(self, caller: Caller, run_id: UUID, *, action: CancelAction = "interrupt") -> Run | None:
        """Cancel a pending run at once; ask the worker of a running one to stop it.

        `interrupt` keeps what the run has done. `rollback` deletes the run with the checkpoints and events that it
        wrote, and its thread is as before it; the journal keeps its calls.

        Returns:
            The run with its asks; None when it was rolled back, and is gone.

        Raises:
            InvalidInputError: There is no such action.
            RunEndedError: It has ended already.
            RunNotFoundError: There is no such run, or no more.
        """
        if action not in get_args(CancelAction):
            raise InvalidInputError(f"A run is cancelled by interrupt or rollback, not {action!r}.")

        async def work(session: Session) -> Run | None:
            runs = RunRepository(session, caller)
            thread_id = (await runs.get(run_id)).thread_id
            thread = await ThreadRepository(session, caller).get(thread_id, lock=True)
            run = await runs.get(run_id, lock=True)
            await session.refresh(run)
            if run.status not in ACTIVE:
                raise RunEndedError(f"The run {run_id} has ended as {run.status}.", run_id=str(run_id))
            is_gone = await stop(session, caller, thread, run, action, schema=self._database.schema)
            await session.flush()
            await runs.ring(thread_id)
            if is_gone:
                return None
            session.expunge(run)
            return await runs.get_with_asks(run_id)

        return await self._database.run(work)

    async def prepare_retry(self, caller: Caller, run_id: UUID) -> RunCreate | None:
        """Return what continues a failed run where it stopped; None for one that is in line or running.

        Raises:
            RunEndedError: It has ended well.
        """
        run = await self.get(caller, run_id)
        if run.status in ACTIVE:
            return None
        if run.status == "success":
            raise RunEndedError(f"The run {run_id} has succeeded: there is nothing to retry.", run_id=str(run_id))
        kwargs = run.kwargs
        command = {**(kwargs.get("command") or {})}
        # Answers are read from their asks' rows. Those of an author's `interrupt()` LangGraph has kept when their
        # node came to an end, be it a bad one; otherwise they are asked for once more.
        command.pop("resume", None)
        is_told = run.input_applied or not any(value is not None for value in command.values())
        return RunCreate(
            assistant_id=str(run.assistant_id or run.graph_id),
            thread_id=run.thread_id,
            input=None if run.input_applied else kwargs.get("input"),
            command=None if is_told else command,
            metadata={**run.metadata_, "retry_of": str(run_id)},
            config=kwargs.get("config") or {},
            context=kwargs.get("context") or {},
            stream_mode=kwargs.get("stream_mode") or ["values"],
            stream_subgraphs=bool(kwargs.get("stream_subgraphs")),
            stream_resumable=bool(kwargs.get("stream_resumable")),
            interrupt_before=kwargs.get("interrupt_before"),
            interrupt_after=kwargs.get("interrupt_after"),
            webhook=run.webhook,
        )

    async def _assistant(self, caller: Caller, name: str) -> Assistant | None:
        """Return the assistant of a UUID; None for an agent's name, whose system assistant adds nothing."""
        if name in self._registry.agents:
            self._registry.get_agent(name)
            return None
        try:
            assistant_id = UUID(name)
        except ValueError:
            self._registry.get_agent(name)  # raises: with the nearest names
            raise AssistantNotFoundError(name) from None
        async with self._database.begin() as session:
            return await AssistantRepository(session, caller).get_visible(assistant_id)

    def _require_size(self, subject: str, given: Any) -> None:
        encoded_bytes = len(dumps(given))
        if encoded_bytes > self._settings.input_max_bytes:
            raise InvalidInputError(
                f"{subject} {encoded_bytes:,} bytes as JSON; the most is {self._settings.input_max_bytes:,} "
                "(setting input_max_bytes). Put large files where the agent can fetch them."
            )

    def _kwargs(
        self, body: RunCreate, assistant: Assistant | None, frozen: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        given = {"input": body.input, "command": body.command.model_dump() if body.command else None}
        self._require_size("The input is", given)
        config = {**(assistant.config if assistant else {}), **body.config}
        configurable = {**((assistant.config if assistant else {}).get("configurable") or {})}
        configurable.update(body.config.get("configurable") or {})
        config["configurable"] = {
            k: v for k, v in configurable.items() if k not in _RESERVED and not k.startswith("__pregel")
        }
        kwargs, was_changed = clean(
            {
                **given,
                "config": config,
                "context": {**(assistant.context if assistant else {}), **body.context},
                "stream_mode": body.stream_mode,
                "stream_subgraphs": body.stream_subgraphs,
                "stream_resumable": body.stream_resumable,
                "interrupt_before": body.interrupt_before,
                "interrupt_after": body.interrupt_after,
                "checkpoint_id": body.checkpoint_id,
                "durability": "sync",
                "settings": frozen,
            }
        )
        return kwargs, was_changed

    async def _insert(
        self,
        session: Session,
        caller: Caller,
        body: RunCreate,
        run: Run,
        answers: Mapping[UUID, Answer] | None,
        worker_id: WorkerId | None,
    ) -> Run:
        runs = RunRepository(session, caller)
        thread, is_new = await self._thread(session, caller, body)
        key = body.idempotency_key
        if key and (known := await runs.find_by_idempotency_key(key)):
            return known
        resume = body.command.resume if body.command else None
        if is_new and (answers or resume is not None):
            raise NotWaitingError(f"The thread {thread.thread_id} is new: nothing waits in it for an answer.")
        run.thread_id = thread.thread_id
        run.owner = thread.owner
        checkpoints = CheckpointRepository(session, schema=self._settings.langgraph_schema)
        if body.checkpoint_id and not await checkpoints.has(run.thread_id, body.checkpoint_id):
            raise CheckpointNotFoundError(run.thread_id, body.checkpoint_id)
        if not is_new and body.multitask_strategy != "enqueue":
            await self._make_way(session, caller, thread, body)
        is_head = is_new or await runs.find_head_id(thread.thread_id) is None
        if is_head and answers is None and not _says_something(body):
            await _need_state(checkpoints, run)
        closing = {}
        if not is_new and (answers is not None or resume is not None):
            if not is_head:
                raise ThreadBusyError(thread.thread_id)
            closing = await closed_asks(session, caller, thread.thread_id, resume=resume, answers=answers)
            run.kwargs = with_resume(run.kwargs, closing)
        run.seq, thread.next_seq = thread.next_seq, thread.next_seq + 1
        thread.status = "busy"
        if "graph_id" not in thread.metadata_:
            thread.metadata_ = {
                **thread.metadata_,
                "graph_id": run.graph_id,
                "assistant_id": str(run.assistant_id),
            }
        starts = worker_id is not None and is_head and run.not_before is None
        run.status, run.epoch, run.attempt = ("running", 1, 1) if starts else ("pending", 0, 0)
        run.worker_id, run.started_at = (worker_id, clock.now()) if starts else (None, None)
        if starts and not is_new:
            run.claimed_checkpoint_id = await checkpoints.find_latest(thread.thread_id)
        await runs.insert(run, new_thread=thread if is_new else None, rings=is_head and not starts)
        await store_answers(session, caller, closing, run_id=run.run_id)
        return run

    async def _make_way(self, session: Session, caller: Caller, thread: Thread, body: RunCreate) -> None:
        """Do with the runs in line what the new run's strategy says; a running one it waits for.

        Raises:
            ThreadBusyError: The strategy is `reject`, and there are some.
            CheckpointNotFoundError: It would start from a checkpoint that goes with one of them.
        """
        active = await RunRepository(session, caller).lock_active(thread.thread_id)
        if active and body.multitask_strategy == "reject":
            raise ThreadBusyError(thread.thread_id)
        action: CancelAction = "rollback" if body.multitask_strategy == "rollback" else "interrupt"
        if active and body.checkpoint_id and action == "rollback":
            checkpoints = CheckpointRepository(session, schema=self._settings.langgraph_schema)
            run_ids = [run.run_id for run in active]
            if await checkpoints.has_of_runs(thread.thread_id, body.checkpoint_id, run_ids):
                raise CheckpointNotFoundError(thread.thread_id, body.checkpoint_id)
        for run in active:
            await stop(session, caller, thread, run, action, schema=self._database.schema)

    async def _thread(self, session: Session, caller: Caller, body: RunCreate) -> tuple[Thread, bool]:
        """Lock or make the thread of a run; say whether it is new."""
        threads = ThreadRepository(session, caller)
        if body.thread_id is not None and (thread := await threads.find(body.thread_id, lock=True)):
            return thread, False
        if body.thread_id is not None and body.if_not_exists == "reject":
            raise ThreadNotFoundError(body.thread_id)
        thread = Thread(
            thread_id=body.thread_id or new_id(),
            tenant=caller.tenant,
            owner=caller.principal,
            metadata_={},
            is_temporary=body.thread_id is None and body.on_completion == "delete",
            next_seq=1,
            interrupts={},
        )
        if ttl := default_ttl(self._settings):
            thread.ttl = ttl
        if body.thread_id is not None and await threads.find_any(body.thread_id) is not None:
            # Made meanwhile, or somebody else's.
            return await threads.get(body.thread_id, lock=True), False
        return thread, True


async def _need_state(checkpoints: CheckpointRepository, run: Run) -> None:
    """Refuse a run without input on a thread where nothing has begun: its graph has nothing to go on with."""
    if await checkpoints.find_latest(run.thread_id) is None:
        raise InvalidInputError(
            f"The agent {run.graph_id!r} starts a thread with an input, and there is none: give --input JSON, "
            "in Python `input`."
        )


def _says_something(body: RunCreate) -> bool:
    """Whether there is more to do than to go on where the thread stands."""
    command = body.command.model_dump().values() if body.command else ()
    return body.input is not None or any(value is not None for value in command)
