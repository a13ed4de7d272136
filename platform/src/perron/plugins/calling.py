"""Calling a hook: one implementation at a time, each alone with its failure and under a time limit."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pluggy import HookImpl

from perron.plugins.explain import explain
from perron.plugins.registry import PluginState, Registry
from perron.plugins.timelimit import run_limited, start, too_late

_log = logging.getLogger(__name__)


async def call_each(registry: Registry, hook: str, **arguments: object) -> list[tuple[PluginState, Any]]:
    """Call a hook and return what each plugin answered, in pluggy's order: the last one registered first.

    A plugin that raises or takes too long fails: it is taken out of the registry, and the others go on.
    """
    answers = []
    for plugin, implementation in _implementations(registry, hook):
        try:
            answers.append((plugin, await _call(implementation, arguments, hook, registry.timeout_s)))
        except Exception as exc:  # noqa: BLE001  # the door to foreign code
            _fail(registry, plugin, hook, exc)
    return answers


def add_commands(registry: Registry, cli: object) -> None:
    """Let each plugin add its commands to the command line. One that fails is taken out, as with `call_each`."""
    hook = "perron_commands"
    for plugin, implementation in _implementations(registry, hook):
        try:
            run_limited(_bound(implementation, {"cli": cli}), registry.timeout_s, what=hook)
        except Exception as exc:  # noqa: BLE001  # the door to foreign code
            _fail(registry, plugin, hook, exc)


def _implementations(registry: Registry, hook: str) -> Iterator[tuple[PluginState, HookImpl]]:
    for implementation in reversed(getattr(registry.manager.hook, hook).get_hookimpls()):
        yield registry.get_plugin(implementation.plugin_name), implementation


async def _call(implementation: HookImpl, arguments: dict[str, object], hook: str, timeout_s: float) -> Any:
    """Call one implementation: a thread runs its synchronous part, the platform's loop what it awaits."""
    try:
        async with asyncio.timeout(timeout_s) as limit:
            answer = await asyncio.wrap_future(start(_bound(implementation, arguments)))
            return await answer if inspect.isawaitable(answer) else answer
    except TimeoutError:
        if limit.expired():
            raise too_late(hook, timeout_s) from None
        raise


def _bound(implementation: HookImpl, arguments: dict[str, object]) -> Callable[[], Any]:
    """Bind the arguments that this implementation takes: it may leave out those that it does not need."""
    return partial(implementation.function, *[arguments[name] for name in implementation.argnames])


def _fail(registry: Registry, plugin: PluginState, hook: str, exc: Exception) -> None:
    _log.debug("hook %s of plugin %s failed", hook, plugin.name, exc_info=exc)
    registry.fail([plugin], f"Its hook {hook} failed: {explain(exc)}")
