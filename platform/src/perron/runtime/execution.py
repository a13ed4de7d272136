"""Executing a claimed run: from the graph's first step to the transaction that ends the run."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained, GraphInterrupt
from langgraph.pregel import Pregel
from langgraph.runtime import RunControl
from langgraph.store.base import BaseStore
from langgraph.types import Command, Interrupt, StreamMode

from perron import clock, failpoints
from perron.configuration import PlatformSettings
from perron.database.checkpoint_pool import CheckpointPool
from perron.database.engine import Database
from perron.database.outage import is_outage, is_passing, sqlstate, was_cancelled
from perron.errors import DatabaseUnavailableError, LeaseLostError, PerronError
from perron.integrations.host import Integrations
from perron.integrations.journal.journal import Journal
from perron.integrations.run.context import RunContext, running
from perron.integrations.run.open_ask import OpenAsk, ask_value
from perron.integrations.run.pauses import Pauses
from perron.models.pause import Pause
from perron.plugins.registry import Registry
from perron.runtime.asks import asks_of
from perron.runtime.checkpoint_log import CheckpointLog
from perron.runtime.checkpointer import FencedSaver, RunFence
from perron.runtime.claim import ClaimedRun, release
from perron.runtime.events import ATTEMPT_EVENT, FENCED, STEP_EVENT, EventLog
from perron.runtime.finish import Outcome, finish
from perron.runtime.graph import open_graph
from perron.runtime.guard import guard_nodes
from perron.runtime.inputs import check_input
from perron.runtime.lease import Lease
from perron.runtime.location import Locator
from perron.runtime.readers import Readers
from perron.runtime.resume import first_input
from perron.runtime.standing import places_of, refuse_gone

log = structlog.get_logger(__name__)

ALWAYS_STREAMED: tuple[StreamMode, ...] = ("values", "tasks", "custom")
"""What an execution listens to: state, steps, and `custom`, since that makes LangGraph stream eagerly."""
_RECONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class Services:
    """What all executions of a process share."""

    database: Database
    pool: CheckpointPool
    store: BaseStore
    registry: Registry
    integrations: Integrations
    journal: Journal
    readers: Readers
    events: EventLog
    checkpoints: CheckpointLog
    pauses: Pauses
    settings: PlatformSettings


class _RunTimeoutError(Exception):
    """The run took longer than a run may."""


class Execution:
    """One claimed run in this process. Its task ends with the run ended, given back, or lost."""

    def __init__(self, run: ClaimedRun, lease: Lease, shared: Services, *, on_step: Callable[[], object]) -> None:
        """Take the run; `on_step` is called when it has finished one, if a worker died with it."""
        self.run = run
        self.cancel_action = run.cancel_action
        """Set before the task is cancelled: what a caller wants of the run. None: this worker has lost it."""
        self.has_stopped = False
        """The graph has: from here on the run only ends, and a cancel comes too late."""
        self.control = RunControl()
        self.parked_by: UUID | None = None
        """The pause for which the run goes back in line, where there is one."""
        self.is_unproven = run.is_takeover
        """A worker has died with it, and it has finished no step since."""
        self._has_results = False
        self._on_step = on_step
        self._lease = lease
        self._shared = shared
        self._fence = RunFence(
            run.run_id,
            run.epoch,
            thread_id=run.thread_id,
            schema=shared.database.schema,
            input_applied=run.input_applied,
            is_empty=not run.has_checkpoints,
        )
        self._fence.clears_all = run.epoch > 1 or bool((run.kwargs.get("command") or {}).get("resume"))
        self._saver = FencedSaver(shared.pool, self._fence, shared.checkpoints)
        self._writer = shared.events.writer(run.run_id, run.epoch)
        self._locator = Locator(self._fence.namespaces)
        self._values: Any = None
        self._stopped_early = False

    def park(self, pause: Pause) -> None:
        """Give the run back in line at its next step, to wait there as long as the pause stands."""
        self.parked_by = pause.pause_id
        self.control.request_drain(f"{pause.subject} is paused")

    async def execute(self) -> Outcome | None:
        """Run the graph and finish; None when the run was given back or lost."""
        outcome = await self._outcome()
        if outcome is None:
            return None
        failpoints.hit("run.before_finish")
        try:
            events = await self._writer.close()
        except LeaseLostError:
            return None
        while True:
            try:
                async with self._shared.events.connection() as connection:
                    done = await finish(
                        connection,
                        self.run,
                        outcome,
                        schema=self._shared.database.schema,
                        events=events,
                        last_n=self._writer.last_n,
                    )
            except Exception as exc:
                if was_cancelled():
                    return None
                if is_outage(exc) or is_passing(exc):
                    await asyncio.sleep(_RECONNECT_S)
                elif outcome.status == "error" and outcome.values is None:
                    raise
                else:  # whatever the database has against this outcome, it takes a plain error
                    log.exception("run_not_finished", run_id=str(self.run.run_id), status=outcome.status)
                    outcome, events = _failed(exc), []
            else:
                failpoints.hit("run.after_finish")
                self._shared.readers.wake(self.run.run_id, has_ended=True)
                return outcome if done else None

    async def _outcome(self) -> Outcome | None:
        run, settings = self.run, self._shared.settings
        if run.attempt > settings.max_attempts:
            return _failed(
                PerronError(f"Gave up after {run.attempt - 1} attempts that died before they finished a step.")
            )
        if run.cancel_action:
            return Outcome(status="interrupted")
        context = self._context()
        try:
            return await self._run_in_time(context)
        except (GraphDrained, LeaseLostError):
            # A lease that was out for a moment may be this worker's again, and nobody else would take the run.
            await self._give_back()
            return None
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if self.cancel_action is None and task is not None and task.cancelling():
                raise
            await context.attempts.settled()
            if self.cancel_action is None:  # raised by the author's code: nobody has cancelled the run
                return _failed(exc, values=self._values)
            task.uncancel()  # type: ignore[union-attr]  # a coroutine runs in a task
            return Outcome(status="interrupted", values=self._values, has_next=True)
        except _RunTimeoutError:
            await context.attempts.settled()
            error = {"error": "TimeoutError", "message": f"The run took longer than {settings.run_timeout_s:g} s."}
            return Outcome(status="timeout", values=self._values, error=error)
        except Exception as exc:  # noqa: BLE001  # the door to the author's code: recorded as the run's error
            if self._is_lost(exc):
                return None
            if self._is_outage(exc):
                await self._give_back()
                return None
            await context.attempts.settled()
            _log_failure(run, exc)
            return _failed(exc, values=self._values)

    async def _run_in_time(self, context: RunContext) -> Outcome:
        end = self.run.started_at + timedelta(seconds=self._shared.settings.run_timeout_s)
        timeout = asyncio.timeout(max((end - clock.now()).total_seconds(), 0))
        try:
            async with timeout:
                with running(context):
                    return await self._run_graph(context)
        except TimeoutError as exc:
            if timeout.expired():
                raise _RunTimeoutError from exc
            raise
        finally:
            self.has_stopped = True

    async def _run_graph(self, context: RunContext) -> Outcome:
        run, shared = self.run, self._shared
        agent = shared.registry.get_agent(run.graph_id)
        config = self._config()
        async with open_graph(agent, config=config, checkpointer=self._saver, store=shared.store) as compiled:
            graph = guard_nodes(compiled, check_lease=self._lease.check, swallowed=partial(self._owed, context))
            self._writer.write(ATTEMPT_EVENT, {"run_id": str(run.run_id), "attempt": run.attempt})
            given = await first_input(
                run, shared.database, langgraph_schema=shared.settings.langgraph_schema, serde=self._saver.serde
            )
            if not isinstance(given, Command):
                await check_input(agent, given)  # the agent's version may be another than when it was put in line
            if given is None or (isinstance(given, Command) and given.resume):
                self._fence.refuse = partial(refuse_gone, run.graph_id, places_of(compiled))
            await self._stream(graph, given, config)
            self._fence.refuse = None
            await context.attempts.settled()
            return await self._result(graph, config, context)

    async def _stream(self, graph: Pregel[Any, Any, Any, Any], given: Any, config: RunnableConfig) -> None:
        kwargs = self.run.kwargs
        modes = kwargs.get("stream_mode") or ["values"]
        wanted: set[StreamMode] = {"messages" if mode == "messages-tuple" else mode for mode in modes}
        with_subgraphs = bool(kwargs.get("stream_subgraphs"))
        async for part in graph.astream(
            given,
            config,
            context=kwargs.get("context") or None,
            stream_mode=sorted(wanted.union(ALWAYS_STREAMED)),
            interrupt_before=kwargs.get("interrupt_before"),
            interrupt_after=kwargs.get("interrupt_after"),
            durability="sync",
            control=self.control,
            subgraphs=with_subgraphs,
        ):
            namespace, mode, chunk = part if with_subgraphs else ((), *part)
            self._take("|".join(namespace), cast("StreamMode", mode), chunk, wanted)

    def _take(self, namespace: str, mode: StreamMode, chunk: Any, wanted: set[StreamMode]) -> None:
        if mode == "values":
            if not namespace:
                self._take_values(chunk)
            chunk = {"checkpoint_id": self._fence.checkpoint_id, "interrupts": _interrupts(chunk)}
        if mode == "tasks":
            if not namespace:
                self._look_for_a_step(is_start="input" in chunk)
            self._writer.write(STEP_EVENT, _step(chunk), namespace=namespace)
        if mode in wanted:
            self._writer.write(mode, chunk, namespace=namespace)

    def _look_for_a_step(self, *, is_start: bool) -> None:
        # A task starts only when the checkpoint of the step before is committed.
        if self.is_unproven and is_start and self._has_results:
            self.is_unproven = False
            self._on_step()
        self._has_results |= not is_start

    def _take_values(self, chunk: Any) -> None:
        if isinstance(chunk, dict) and "__interrupt__" in chunk:
            self._stopped_early = True
            chunk = {k: v for k, v in chunk.items() if k != "__interrupt__"}
        if chunk != {} or self._values is None:
            self._values = chunk

    async def _result(
        self, graph: Pregel[Any, Any, Any, Any], config: RunnableConfig, context: RunContext
    ) -> Outcome:
        values = self._values
        outcome = Outcome(status="success", values=values, output=_output(graph, values))
        kwargs = self.run.kwargs
        may_stop = (
            self._stopped_early
            or kwargs.get("interrupt_before")
            or kwargs.get("interrupt_after")
            or graph.interrupt_before_nodes
            or graph.interrupt_after_nodes
        )
        if may_stop:
            newest: RunnableConfig = {"configurable": {"thread_id": str(self.run.thread_id)}}
            state = await graph.aget_state(newest)
            outcome.has_next = bool(state.next)
            outcome.interrupts = {
                task.id: [{"id": i.id, "value": i.value} for i in task.interrupts]
                for task in state.tasks
                if task.interrupts
            }
            outcome.asks = asks_of([i for task in state.tasks for i in task.interrupts], context.asks)
        return outcome

    def _context(self) -> RunContext:
        run, shared = self.run, self._shared
        registered = shared.registry.agents.get(run.graph_id)
        uses = registered.agent.uses if registered and registered.agent else None
        return RunContext(
            run_id=run.run_id,
            thread_id=run.thread_id,
            epoch=run.epoch,
            worker_id=run.worker_id,
            caller=run.owner,
            graph_id=run.graph_id,
            grants=None if uses is None else frozenset(granted.key for granted in uses),
            settings=run.kwargs.get("settings") or {},
            journal=shared.journal,
            integrations=shared.integrations,
            locate=self._locator,
            check_lease=self._lease.check,
            interrupt=_interrupt,
            hold=self._hold,
            progress=self._progress,
            sealed_namespaces=self._fence.sealed_namespaces,
            is_branch=bool(run.kwargs.get("checkpoint_id") or run.kwargs.get("is_branch")),
        )

    def _hold(self, operation: str, connection_id: UUID | None) -> BaseException | None:
        pause = self._shared.pauses.of_call(self.run.owner.tenant, operation, connection_id)
        if pause is None:
            return None
        self.parked_by = pause.pause_id
        return GraphDrained(f"{pause.subject} is paused")

    def _owed(self, context: RunContext, task_id: str) -> BaseException | None:
        """Return the interrupt that a task swallowed: its own, or that of a graph that its code ran."""
        tasks = (task_id, *self._locator.inside.pop(task_id, ()))
        return next((owed for owed in [context.attempts.end(task) for task in tasks] if owed is not None), None)

    def _progress(self, value: Any) -> None:
        if "custom" in (self.run.kwargs.get("stream_mode") or ()):
            self._writer.write("custom", value)

    def _config(self) -> RunnableConfig:
        run, given = self.run, self.run.kwargs.get("config") or {}
        configurable = {
            **(given.get("configurable") or {}),
            "thread_id": str(run.thread_id),
            "run_id": str(run.run_id),
            "graph_id": run.graph_id,
            "assistant_id": str(run.assistant_id) if run.assistant_id else run.graph_id,
            "__pregel_strict_resume": True,
        }
        if run.kwargs.get("checkpoint_id") and not run.input_applied:
            configurable["checkpoint_id"] = run.kwargs["checkpoint_id"]
        return {
            "configurable": configurable,
            "metadata": {**run.metadata, "run_id": str(run.run_id), "graph_id": run.graph_id},
            "tags": list(given.get("tags") or []),
            "recursion_limit": int(given.get("recursion_limit") or self._shared.settings.recursion_limit),
            "callbacks": [self._locator.tool_calls],
            "run_id": run.run_id,
        }

    async def _give_back(self) -> None:
        """Return the run to the line as soon as the database can be reached; a successor may be faster."""
        try:
            events = await self._writer.close()
        except LeaseLostError:
            return
        while True:
            try:
                async with self._shared.events.connection():
                    pass  # what has landed is there: the rest goes behind it
                await release(
                    self._shared.database,
                    self.run,
                    events=events,
                    last_n=self._writer.last_n,
                    parked_by=self.parked_by,
                )
            except Exception as exc:
                if not is_outage(exc):
                    raise
                if was_cancelled():
                    return
                await asyncio.sleep(_RECONNECT_S)
            else:
                return

    def _is_outage(self, exc: Exception) -> bool:
        """Whether it was our database that failed, and not one of the author's own."""
        failure = self._fence.failure
        return isinstance(exc, DatabaseUnavailableError) or (failure is not None and is_outage(failure))

    def _is_lost(self, exc: BaseException) -> bool:
        """Whether the database said that this worker does not have the run any more."""
        failures = [self._fence.failure, exc, exc.__cause__]
        return any(
            isinstance(failure, LeaseLostError) or (failure is not None and sqlstate(failure) == FENCED)
            for failure in failures
        )


def _interrupt(asks: Sequence[OpenAsk]) -> BaseException:
    return GraphInterrupt(tuple(Interrupt(value=ask_value(ask), id=ask.interrupt_id) for ask in asks))


def _log_failure(run: ClaimedRun, exc: Exception) -> None:
    """Log an author's error without the values of variables: they hold what users typed, and secrets."""
    facts = {"run_id": str(run.run_id), "graph_id": run.graph_id}
    log.warning("run_failed", **facts, error=f"{type(exc).__name__}: {exc}")
    log.debug("run_failed_at", **facts, traceback="".join(traceback.format_exception(exc)))


def _failed(exc: BaseException, *, values: Any = None) -> Outcome:
    return Outcome(
        status="error", values=values, error={"error": type(exc).__name__, "message": str(exc) or repr(exc)}
    )


def _interrupts(chunk: Any) -> list[dict[str, Any]]:
    found = chunk.get("__interrupt__", ()) if isinstance(chunk, dict) else ()
    return [{"id": i.id, "value": i.value} for i in found]


def _step(chunk: dict[str, Any]) -> dict[str, Any]:
    """A task's start or end, without its input and result: those stand in the checkpoints."""
    if "input" in chunk:
        return {"id": chunk["id"], "name": chunk["name"], "state": "started"}
    state = "failed" if chunk.get("error") else "waiting" if chunk.get("interrupts") else "done"
    return {"id": chunk["id"], "name": chunk["name"], "state": state}


def _output(graph: Pregel[Any, Any, Any, Any], values: Any) -> Any:
    """Narrow the state to what the graph declares as its output."""
    channels = graph.output_channels
    if not isinstance(values, dict) or isinstance(channels, str) or values.keys() <= set(channels):
        return values
    return {name: values[name] for name in channels if name in values}
