"""What the distribution gives to the platform."""

from __future__ import annotations

from perron import hookimpl
from perron_desk.integration import Desk


@hookimpl
def perron_integrations() -> list[type[Desk]]:
    """The desk."""
    return [Desk]
