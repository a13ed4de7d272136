"""Calling a graph factory: which of its arguments it takes, and in which form the graph comes."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import Any, TypeVar

from langgraph_sdk.runtime import ServerRuntime

T = TypeVar("T")

CONFIG, RUNTIME = "config", "runtime"


async def call_factory(
    factory: Callable[..., Any], *, config: Any, runtime: ServerRuntime[Any], stack: AsyncExitStack
) -> Any:
    """Call a factory with the arguments that it wants, and return what it makes.

    A context manager is entered on `stack`, an awaitable awaited.

    Raises:
        TypeError: It needs an argument that is neither the config nor the runtime.
    """
    values = {CONFIG: config, RUNTIME: runtime}
    positional, named = _wanted(factory)
    made = factory(*[values[role] for role in positional], **{name: values[role] for name, role in named.items()})
    if inspect.isawaitable(made):
        made = await made
    if isinstance(made, AbstractAsyncContextManager):
        return await stack.enter_async_context(made)
    if isinstance(made, AbstractContextManager):
        return stack.enter_context(made)
    return made


def _wanted(factory: Callable[..., Any]) -> tuple[list[str], dict[str, str]]:
    """Return the roles of the positional arguments, in order, and those of keyword-only ones by name."""
    positional: list[str] = []
    named: dict[str, str] = {}
    hints = _hints(factory)
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        role = _role(parameter.name, hints.get(parameter.name))
        if role is None and parameter.default is not parameter.empty:
            break  # an option of its own; what follows it could only be given by name
        if role is None:
            # By place, as other LangGraph servers do it: the config first.
            role = RUNTIME if CONFIG in positional else CONFIG
            if role in positional or parameter.kind is parameter.KEYWORD_ONLY:
                raise TypeError(
                    f"it wants an argument {parameter.name!r}; a graph factory takes `config` and `runtime` only"
                )
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = role
        else:
            positional.append(role)
    return positional, named


def _role(name: str, hint: Any) -> str | None:
    text = hint if isinstance(hint, str) else repr(hint)
    if "RunnableConfig" in text:
        return CONFIG
    if "ServerRuntime" in text:
        return RUNTIME
    return name if name in (CONFIG, RUNTIME) else None


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations, resolved where they can be: names under TYPE_CHECKING stay text."""
    function = factory if inspect.isroutine(factory) else type(factory).__call__
    function = inspect.unwrap(function)
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001  # a foreign annotation may raise anything
        return dict(getattr(function, "__annotations__", {}))
