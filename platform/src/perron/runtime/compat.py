"""What LangGraph lacks and this platform needs; each has a contract test that says when it can go."""

from __future__ import annotations

from collections.abc import Generator
from functools import wraps
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONFIG_KEY_SCRATCHPAD
from langgraph.pregel import _retry
from langgraph.pregel._loop import AsyncPregelLoop, SyncPregelLoop
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime, _ExecutionRuntime, _ReadRuntime


class _Finished:
    """A save that is over: what both loops wait for after a step that saved nothing."""

    def result(self) -> None:
        return None

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield  # makes this a generator, which is what `await` wants


def patch_loops() -> None:
    """Let graphs without a checkpointer of their own run with `durability="sync"`.

    A subgraph compiled with `checkpointer=False` never saves, and its loop then lacks the future that LangGraph
    waits for after each step: AttributeError `_put_checkpoint_fut`.
    """
    for loop in (AsyncPregelLoop, SyncPregelLoop):
        if not hasattr(loop, "_put_checkpoint_fut"):
            setattr(loop, "_put_checkpoint_fut", _Finished())  # noqa: B010  # declared as a future of each loop


def patch_retries() -> None:
    """Let a node that is retried count its tasks and subgraphs from the first again, like its interrupts.

    Without it each `@task` and each subgraph that the node calls gets another id, so that neither their results
    nor their recorded calls are found: everything in them is done again.
    """
    original = _retry._reset_interrupt_counter  # noqa: SLF001  # LangGraph's own hook for this
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def reset(config: RunnableConfig) -> RunnableConfig:
        scratchpad = config["configurable"].get(CONFIG_KEY_SCRATCHPAD)
        if scratchpad is not None:
            # In place: the task's own config, which `@task` counts by, shares these two with the retry's.
            for counter in (scratchpad.call_counter, scratchpad.subgraph_counter):
                counter._counter = None  # noqa: SLF001  # a new one begins at 0
        return original(config)

    setattr(_retry, "_reset_interrupt_counter", reset)  # noqa: B010  # declared as a function


def server_runtime(access: AccessContext, *, store: BaseStore, context: Any = None) -> ServerRuntime[Any]:
    """Make what a factory may take as `runtime`.

    The SDK hands out the type and keeps the constructors private, for servers alone: this is one.
    """
    if access == "threads.create_run":
        return _ExecutionRuntime(access_context=access, store=store, context=context)
    return _ReadRuntime(access_context=access, store=store)
