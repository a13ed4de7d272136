"""The tables of the schema `perron`, one file per noun."""

from perron.models.agent import Agent
from perron.models.ask import Ask, AskAnswer
from perron.models.assistant import Assistant, AssistantVersion
from perron.models.base import Base
from perron.models.call import Call, CallAttempt
from perron.models.connection import Connection
from perron.models.cron import Cron
from perron.models.ended_stream import EndedStream
from perron.models.pause import Pause
from perron.models.plugin import Plugin
from perron.models.run import Run
from perron.models.run_event import RunEvent
from perron.models.run_reader import RunReader
from perron.models.setting import Setting, SettingChange
from perron.models.thread import Thread
from perron.models.undo import KeptSeal, ReplacedWrite
from perron.models.webhook_delivery import WebhookDelivery
from perron.models.worker import Worker

__all__ = [
    "Agent",
    "Ask",
    "AskAnswer",
    "Assistant",
    "AssistantVersion",
    "Base",
    "Call",
    "CallAttempt",
    "Connection",
    "Cron",
    "EndedStream",
    "KeptSeal",
    "Pause",
    "Plugin",
    "ReplacedWrite",
    "Run",
    "RunEvent",
    "RunReader",
    "Setting",
    "SettingChange",
    "Thread",
    "WebhookDelivery",
    "Worker",
]
