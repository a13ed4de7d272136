"""Hooks that fire while a platform is open, and those of the command line."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from perron.configuration import load_settings
from perron.plugins.calling import add_commands, call_each
from perron.plugins.hooks import hookimpl
from perron.plugins.loader import import_plugins
from perron.plugins.registry import Registry


@pytest.fixture
def registry_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a registry of plugins that are built in, in the order of their registration."""
    monkeypatch.setenv("PERRON_PLUGINS", "none")

    def make(**plugins: object) -> Registry:
        return import_plugins(load_settings(plugin_timeout_s=0.2), builtin=plugins)

    return make


def plugin(**hooks: Any) -> object:
    """Make a plugin of functions, each the implementation of the hook of its keyword."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})


async def test_the_last_registered_is_called_first_and_awaited(registry_of: Any) -> None:
    loop = asyncio.get_running_loop()
    seen: list[Any] = []

    async def first(host: str) -> None:
        seen.append((host, asyncio.get_running_loop() is loop))

    def second() -> None:
        seen.append(threading.current_thread() is threading.main_thread())

    registry = registry_of(first=plugin(perron_startup=first), second=plugin(perron_startup=second))

    await call_each(registry, "perron_startup", host="the platform")

    assert seen == [False, ("the platform", True)]


async def test_a_plugin_whose_hook_fails_is_called_no_more(registry_of: Any) -> None:
    stopped: list[str] = []

    def fail(host: object) -> None:
        raise TimeoutError("no answer")

    registry = registry_of(
        broken=plugin(perron_startup=fail, perron_shutdown=lambda: stopped.append("broken")),
        good=plugin(perron_shutdown=lambda: stopped.append("good")),
    )

    await call_each(registry, "perron_startup", host=None)
    await call_each(registry, "perron_shutdown", host=None)

    assert stopped == ["good"]
    assert registry.get_plugin("broken").state == "failed"
    error = registry.get_plugin("broken").error or ""
    assert error == "Its hook perron_startup failed: TimeoutError: no answer."


def test_commands_that_raise_or_hang_leave_the_others(registry_of: Any) -> None:
    commands: list[str] = []
    registry = registry_of(
        good=plugin(perron_commands=lambda cli: cli.append("good")),
        raising=plugin(perron_commands=lambda cli: cli[5]),
        hanging=plugin(perron_commands=lambda: threading.Event().wait()),
    )

    add_commands(registry, commands)

    assert commands == ["good"]
    assert [p.state for p in registry.plugins if p.distribution == "perron"] == ["loaded", "failed", "failed"]
