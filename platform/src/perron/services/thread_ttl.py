"""How long a thread lasts of which nobody has said it."""

from __future__ import annotations

from typing import Any

from perron.configuration import PlatformSettings


def default_ttl(settings: PlatformSettings) -> dict[str, Any] | None:
    """Return what a new thread has as `ttl`, as the settings say; None: it lasts until somebody deletes it."""
    if settings.thread_ttl_minutes is None:
        return None
    return {"strategy": settings.thread_ttl_strategy, "ttl_minutes": settings.thread_ttl_minutes}
