"""Runs on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from typing_extensions import TypedDict

StreamMode = Literal["values", "updates", "messages", "messages-tuple", "custom", "debug", "tasks", "checkpoints"]
IfNotExists = Literal["create", "reject"]
OnDisconnect = Literal["cancel", "continue"]
OnCompletion = Literal["delete", "keep"]
MultitaskStrategy = Literal["enqueue", "reject", "interrupt", "rollback"]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Command(BaseModel):
    """The SDK's command: update the state, resume what waits, go to a node."""

    model_config = ConfigDict(extra="forbid")

    update: dict[str, Any] | list[tuple[str, Any]] | None = None
    resume: Any = None
    goto: str | dict[str, Any] | list[str | dict[str, Any]] | None = None


class RunConfig(TypedDict, total=False):
    """LangGraph's config, as far as a wrong value would fail the run; what else it has passes unchecked."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic's own way for a TypedDict

    tags: list[str]
    metadata: dict[str, Any]
    configurable: dict[str, Any]
    recursion_limit: Annotated[int, Field(ge=1)]
    max_concurrency: Annotated[int, Field(ge=1)] | None


class RunOptions(BaseModel):
    """What a run is given, whoever creates it: a caller, or a cron. Names and defaults are the SDK's."""

    input: Any = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    config: RunConfig = Field(default_factory=RunConfig)
    context: dict[str, Any] = Field(default_factory=dict)
    stream_mode: Annotated[list[StreamMode], BeforeValidator(_as_list)] = ["values"]
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    """Keep the events, for readers that come later than a minute after the run's end."""
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    multitask_strategy: MultitaskStrategy = "enqueue"
    """About the runs that the thread has in line: wait for them; refuse this one; cancel them; cancel them and
    take back what they have done."""
    webhook: str | None = Field(None, max_length=2048)
    """A URL that is told when the run has ended."""
    priority: int = Field(0, ge=-5, le=5)

    @field_validator("metadata", "config", "context", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value


class RunCreate(RunOptions):
    """What it takes to create a run."""

    assistant_id: str
    """An agent's name or an assistant's UUID."""
    thread_id: UUID | None = None
    command: Command | None = None
    checkpoint_id: str | None = None
    """Start from this checkpoint instead of the newest: a fork."""
    if_not_exists: IfNotExists = "reject"
    """What to do about a `thread_id` that no thread has."""
    on_completion: OnCompletion = "keep"
    """What becomes of the thread when none was named: `delete` takes it away once its run has ended."""
    after_seconds: float | None = Field(None, ge=0)
    idempotency_key: str | None = Field(None, min_length=1, max_length=255)
