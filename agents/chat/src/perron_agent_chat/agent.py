"""The agent as the platform finds it."""

from perron import Agent
from perron_agent_chat.config import Config
from perron_agent_chat.graph import USES, build

agent = Agent(
    "chat",
    build(),
    description="Talks with any chat model, and does with tools what its settings allow.",
    settings=Config,
    uses=USES,
)
