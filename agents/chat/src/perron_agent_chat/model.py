"""The chat model of a run."""

from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel

from perron_agent_chat.config import Config, Context


def open_model(context: Context | None, config: Config) -> BaseChatModel:
    """Open the model that the run's context names, else the setting's.

    Raises:
        ValueError: Neither names one, or the name tells no provider.
        ImportError: The provider's package is not installed; the message says which.
    """
    name = (context or {}).get("model") or config.model
    if not name:
        raise ValueError(
            "The chat agent has no model: name one in the run's context, such as "
            '{"model": "openai:gpt-5-mini"}, or in the agent\'s setting `model`.'
        )
    options: dict[str, Any] = {
        # The address is the operator's alone: whoever names it receives the provider's key.
        "base_url": config.base_url,
        "temperature": config.temperature,
        "timeout": config.timeout_s,
    }
    model: BaseChatModel = init_chat_model(
        name, **{key: value for key, value in options.items() if value is not None}
    )
    return model
