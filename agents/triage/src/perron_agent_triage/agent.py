"""The agent as the platform finds it."""

from perron import Agent
from perron_agent_triage.config import Config
from perron_agent_triage.graph import build
from perron_desk import Desk

agent = Agent(
    "triage",
    build(),
    description="Sorts requests of a bank's customers and does what they need, or asks a person.",
    settings=Config,
    uses=[Desk.customer, Desk.freeze_card, Desk.open_ticket, Desk.refund, Desk.send_message],
)
