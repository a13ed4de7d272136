"""`on_stage`: tests that play several at once; see `conftest.py`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.faults.stage import Stage

PLAY = "play"

Play = Callable[..., Awaitable[None]]
"""Takes a `Stage` first, and the test's parameters by name."""


def on_stage(play: Play) -> Play:
    """Make a test of a play."""

    @functools.wraps(play)
    async def test(company: Any, request: pytest.FixtureRequest, **_parameters: Any) -> None:
        await company.play(request.node)

    stage, *parameters = inspect.signature(play).parameters.values()
    assert stage.annotation in (Stage, "Stage")
    given = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("company", "request")]
    test.__signature__ = inspect.Signature([*given, *parameters])  # type: ignore[attr-defined]  # read by pytest
    setattr(test, PLAY, play)
    return test
