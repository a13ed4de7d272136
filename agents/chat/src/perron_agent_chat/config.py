"""What operators set, and what a run's context may name."""

from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class Config(BaseModel):
    """The agent's settings."""

    model: str | None = Field(None, description="Chat model, such as `openai:gpt-5-mini`.")
    base_url: str | None = Field(None, description="Where the model is served, if not at its provider's.")
    temperature: float | None = Field(None, ge=0, le=2, description="The model's own without one.")
    timeout_s: float = Field(60.0, gt=0, description="How long to wait for an answer of the model.")
    system_prompt: str = Field(
        "You help the people at a bank's desk. Use the tools; say so when they do not tell you something.",
        description="What the model is told first.",
    )
    operations: list[str] = Field(
        ["desk.customer", "desk.tickets", "desk.open_ticket"],
        description="What the model may do without a person, among the operations that the agent uses.",
    )
    max_tool_rounds: int = Field(
        20, ge=0, description="After so many rounds of tool calls the model has to answer."
    )


class Context(TypedDict, total=False):
    """What a run may say about itself."""

    model: str | None
    """The chat model of this run, in place of the setting's."""
    system_prompt: str | None
    """What the model is told first, in place of the setting's."""
