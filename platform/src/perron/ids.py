"""The ids of things, as types of their own."""

from __future__ import annotations

from datetime import datetime
from typing import NewType
from uuid import UUID, uuid5

from uuid_utils.compat import uuid7

RunId = NewType("RunId", UUID)
ThreadId = NewType("ThreadId", UUID)
AssistantId = NewType("AssistantId", UUID)
WorkerId = NewType("WorkerId", UUID)
AskId = NewType("AskId", UUID)
CallId = NewType("CallId", UUID)
AttemptId = NewType("AttemptId", UUID)
ConnectionId = NewType("ConnectionId", UUID)

_ASSISTANTS = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")  # the SDK's namespace: RFC 4122's for URLs


def new_id() -> UUID:
    """Return a uuid7: ordered by time, so that indexes and partitions of newer rows stay together."""
    return uuid7()


def least_id(moment: datetime) -> UUID:
    """Return the least uuid7 of a moment: the first 48 bits are the milliseconds since 1970."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def next_worker_id(worker_id: WorkerId) -> WorkerId:
    """Return the id under which the same process registers anew: only its last four digits are others."""
    return WorkerId(UUID(int=worker_id.int & ~0xFFFF | (worker_id.int + 1) & 0xFFFF))


def process_of(worker_id: WorkerId | UUID) -> str:
    """Return what all worker ids of one process have in common; its connections are known by it."""
    return str(worker_id)[:-4]


def system_assistant_id(graph_id: str) -> AssistantId:
    """Return the id of an agent's system assistant, the same as every LangGraph server gives it."""
    return AssistantId(uuid5(_ASSISTANTS, graph_id))
