"""Opening a platform for a command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from perron.cli.configured import read_settings
from perron.cli.loop import run_async
from perron.cli.output import progress
from perron.core.platform import Platform

T = TypeVar("T")


def read(work: Callable[[Platform], Awaitable[T]]) -> T:
    """Do something on a platform that executes no runs."""
    return run_async(lambda: _on_platform(work, worker=False))


def execute(work: Callable[[Platform], Awaitable[T]], **overrides: Any) -> T:
    """Do something on a platform whose worker executes runs, ours and those that are due besides.

    `overrides` are single settings, by name.
    """
    return run_async(lambda: _on_platform(work, worker=True, **overrides))


async def _on_platform(work: Callable[[Platform], Awaitable[T]], *, worker: bool, **overrides: Any) -> T:
    with progress("Opening the platform …") as status:
        opening = Platform.open(read_settings(**overrides), worker=worker, on_event=status.update)
        async with opening as platform:
            status.stop()
            return await work(platform)
