"""What LangGraph lacks and this platform needs; each has a contract test that says when it can go."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

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


def server_runtime(access: AccessContext, *, store: BaseStore, context: Any = None) -> ServerRuntime[Any]:
    """Make what a factory may take as `runtime`.

    The SDK hands out the type and keeps the constructors private, for servers alone: this is one.
    """
    if access == "threads.create_run":
        return _ExecutionRuntime(access_context=access, store=store, context=context)
    return _ReadRuntime(access_context=access, store=store)
