"""Deleting threads: what goes with them, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Session
from perron.repositories.checkpoint import CheckpointRepository
from perron.repositories.run_event import RunEventRepository
from perron.repositories.thread import ThreadRepository


async def delete_threads(session: Session, thread_ids: Sequence[UUID], *, langgraph_schema: str) -> None:
    """Delete threads that the session has locked, with all that hangs on them; their calls stay in the journal."""
    if thread_ids:
        everyone = Caller.system()
        await CheckpointRepository(session, schema=langgraph_schema).delete(thread_ids)
        await RunEventRepository(session, everyone).delete_of(thread_ids)
        await ThreadRepository(session, everyone).delete_any(thread_ids)
