"""`Event`: one part of a run's stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HEARTBEAT = "heartbeat"
"""Not an event of the run's, and without an id: nothing has come for a while, and the stream is open."""


@dataclass(frozen=True, slots=True)
class Event:
    """One part of a run's stream."""

    id: str
    """`<epoch>-<n>`: give it to `after` to go on behind it."""
    event: str
    """The SSE event: metadata, values, updates, messages, custom, …, error, end; `heartbeat` when asked for."""
    namespace: str
    """Which subgraph: `node:task_id`, levels joined by `|`; empty for the root."""
    data: Any
    """Shared by all who read the run in this process: not to be changed."""
