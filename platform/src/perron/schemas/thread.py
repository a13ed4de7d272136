"""Threads on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_LONGEST_MINUTES = 36_500 * 1_440


class Ttl(BaseModel):
    """How long a thread lasts after its last update, and what goes then. The SDK's; a number alone is minutes."""

    model_config = ConfigDict(extra="forbid")

    ttl: float = Field(gt=0, le=_LONGEST_MINUTES)
    """Minutes."""
    strategy: Literal["delete", "keep_latest"] = "delete"
    """The thread goes, or all of its checkpoints but the newest of each namespace."""

    @model_validator(mode="before")
    @classmethod
    def _of_minutes(cls, given: Any) -> Any:
        return {"ttl": given} if isinstance(given, int | float) else given

    @property
    def column(self) -> dict[str, Any]:
        """As `threads.ttl` has it."""
        return {"strategy": self.strategy, "ttl_minutes": self.ttl}


class ThreadUpdate(BaseModel):
    """What to change of a thread: only what is given."""

    metadata: dict[str, Any] = Field(default_factory=dict)
    """Merged into the thread's, key by key."""
    ttl: Ttl | None = None
    """None takes it away."""
