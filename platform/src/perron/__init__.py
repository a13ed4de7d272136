"""Perron: a self-hosted platform for LangGraph agents.

What authors import stands here and nowhere deeper. Names are loaded at their first use: `perron --help` should not
wait for LangGraph.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# LangGraph reads it once, when it is imported: a stored blob must not name code that is then run.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

if TYPE_CHECKING:
    from perron.caller import Caller
    from perron.core.platform import Platform
    from perron.core.result import RunResult, Waiting
    from perron.errors import (
        Aborted,
        AuthFailed,
        IntegrationError,
        Invalid,
        NotFound,
        PerronError,
        RateLimited,
        Rejected,
        ReplayMismatch,
        Upstream,
    )
    from perron.integrations.api.api import Api
    from perron.integrations.auth import ApiKey, Basic, Bearer
    from perron.integrations.exchange import NotSent
    from perron.integrations.integration import Account, Integration
    from perron.integrations.operations.accessor import integration
    from perron.integrations.operations.approve import approve
    from perron.integrations.operations.effect import effect, marker
    from perron.integrations.operations.operation import operation
    from perron.integrations.operations.tools import tools
    from perron.integrations.repeat import AskPerson, Harmless, LookUp, SameKey
    from perron.integrations.run.settings import settings
    from perron.plugins.agent import Agent
    from perron.plugins.hooks import hookimpl
    from perron.services.answer import Answer

_HOMES = {
    "perron.caller": ("Caller",),
    "perron.core.platform": ("Platform",),
    "perron.core.result": ("RunResult", "Waiting"),
    "perron.errors": (
        "Aborted",
        "AuthFailed",
        "IntegrationError",
        "Invalid",
        "NotFound",
        "PerronError",
        "RateLimited",
        "Rejected",
        "ReplayMismatch",
        "Upstream",
    ),
    "perron.integrations.operations.accessor": ("integration",),
    "perron.integrations.api.api": ("Api",),
    "perron.integrations.operations.approve": ("approve",),
    "perron.integrations.auth": ("ApiKey", "Basic", "Bearer"),
    "perron.integrations.run.settings": ("settings",),
    "perron.integrations.operations.effect": ("effect", "marker"),
    "perron.integrations.exchange": ("NotSent",),
    "perron.integrations.integration": ("Account", "Integration"),
    "perron.integrations.operations.operation": ("operation",),
    "perron.integrations.repeat": ("AskPerson", "Harmless", "LookUp", "SameKey"),
    "perron.integrations.operations.tools": ("tools",),
    "perron.plugins.agent": ("Agent",),
    "perron.plugins.hooks": ("hookimpl",),
    "perron.services.answer": ("Answer",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Aborted",
    "Account",
    "Agent",
    "Answer",
    "Api",
    "ApiKey",
    "AskPerson",
    "AuthFailed",
    "Basic",
    "Bearer",
    "Caller",
    "Harmless",
    "Integration",
    "IntegrationError",
    "Invalid",
    "LookUp",
    "NotFound",
    "NotSent",
    "PerronError",
    "Platform",
    "RateLimited",
    "Rejected",
    "ReplayMismatch",
    "RunResult",
    "SameKey",
    "Upstream",
    "Waiting",
    "approve",
    "effect",
    "hookimpl",
    "integration",
    "marker",
    "operation",
    "settings",
    "tools",
]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'perron' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
