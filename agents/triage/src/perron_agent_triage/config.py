"""What operators set, and what a run's context may name."""

from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class Config(BaseModel):
    """The agent's settings."""

    refund_limit_cents: int = Field(5_000, ge=0, description="Above it a person decides about a refund.")
    model: str | None = Field(
        None, description="Chat model that decides, such as `openai:gpt-5-mini`; without one, rules do."
    )
    base_url: str | None = Field(None, description="Where the model is served, if not at its provider's.")
    model_timeout_s: float = Field(60.0, gt=0, description="How long to wait for the model.")


class Context(TypedDict, total=False):
    """What a run may say about itself."""

    model: str | None
    """The chat model that decides in this run, in place of the setting's."""
