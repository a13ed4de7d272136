"""SQL of agents."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import update

from perron.models.agent import Agent
from perron.repositories.registered import RegisteredRepository


class AgentRepository(RegisteredRepository[Agent]):
    """Agents as they were registered."""

    model = Agent

    async def replace(self, rows: Sequence[dict[str, Any]], missing: Collection[str]) -> None:
        """Insert or replace agents, and say of others, by name, that nobody brings them any more."""
        await self.put(rows)
        await self.session.execute(
            update(Agent).where(Agent.graph_id.in_(missing)).values(state="missing", error=None)
        )
