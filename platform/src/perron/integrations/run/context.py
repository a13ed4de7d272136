"""The run that code executes in: what calls, settings and approvals need to know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from perron.caller import Caller
from perron.errors import OutsidePlatformError
from perron.ids import RunId, ThreadId, WorkerId
from perron.integrations.exchange import Calls
from perron.integrations.host import Integrations
from perron.integrations.run.node_attempt import NodeAttempts
from perron.integrations.run.open_ask import OpenAsk
from perron.integrations.sealing.thread_seal import ThreadSeal


@dataclass(frozen=True, slots=True)
class TaskRef:
    """Where in the graph the calling code stands."""

    task_id: str
    """LangGraph's id of the innermost task whose graph writes checkpoints."""
    checkpoint_ns: str
    """The namespace in which that task's graph writes its checkpoints; empty for the root graph."""
    node: str
    attempt: int
    """LangGraph's attempt of the node in this process, from 1."""
    tool_call_id: str = ""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    """LangGraph's `checkpoint_map` of the task: namespace → checkpoint id, its own graph's and its parents'."""


@dataclass(slots=True)
class RunContext:
    """One execution of a run by one worker; set by the executor around the graph."""

    run_id: RunId
    thread_id: ThreadId
    epoch: int
    worker_id: WorkerId
    caller: Caller
    """The run's owner: its connections are the ones that calls use."""
    graph_id: str
    grants: frozenset[str] | None
    """Operations that the agent may use; None where its declaration does not narrow them."""
    settings: Mapping[str, Mapping[str, Any]]
    """Frozen at the run's creation: `agent` and each integration's key → values."""
    journal: Calls
    integrations: Integrations
    locate: Callable[[], TaskRef]
    """Find the task that the calling code belongs to. Synchronous."""
    check_lease: Callable[[], None]
    """Raises LeaseLostError when this worker may not act any more."""
    interrupt: Callable[[Sequence[OpenAsk]], BaseException]
    """Make the exception that stops the node for these asks; LangGraph's GraphInterrupt."""
    hold: Callable[[str, UUID | None], BaseException | None]
    """Say what stops the node before a call of this operation over this connection, where that is paused."""
    progress: Callable[[Any], None]
    """Write to the run's `custom` stream."""
    asks: dict[str, OpenAsk] = field(default_factory=dict)
    """By interrupt id: what this execution came to ask."""
    sealed_namespaces: set[str] = field(default_factory=set)
    """Namespaces whose next checkpoint clears sealed responses."""
    is_branch: bool = False
    """It started from an older checkpoint that was named: what the thread did after it is on another branch."""
    attempts: NodeAttempts = field(default_factory=NodeAttempts)
    """The calls and questions of each execution of a node."""
    seal: ThreadSeal | None = None
    """Opens the thread's sealed answers; loaded by the first call that may need it."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    """Where the run executes and calls are made; code in other threads hands its calls over to it."""


_current: ContextVar[RunContext | None] = ContextVar("perron_run", default=None)


def current_run(what: str) -> RunContext:
    """Return the run that this code executes in.

    Raises:
        OutsidePlatformError: There is none; `what` names what was tried.
    """
    context = _current.get()
    if context is None:
        raise OutsidePlatformError(what)
    return context


class running:  # noqa: N801  # reads as a statement: `with running(context):`
    """Make a context the current one for a block."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def __enter__(self) -> RunContext:
        self._token = _current.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
