"""SQL of agents."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert

from perron.models.agent import Agent
from perron.repositories.base import BaseRepository


class AgentRepository(BaseRepository[Agent]):
    """Agents as they were registered; the same for all tenants."""

    model = Agent

    async def get_sorted(self) -> Sequence[Agent]:
        """Return all, by name."""
        return (await self.session.execute(self.select().order_by(Agent.graph_id))).scalars().all()

    async def replace(self, rows: Sequence[dict[str, Any]], missing: Collection[str]) -> None:
        """Insert or replace agents, and say of others that nobody brings them any more.

        Args:
            rows: Every column but the times, in the order of the names.
            missing: Names.
        """
        statement = insert(Agent)
        for row in rows:
            columns = {name: statement.excluded[name] for name in row if name != "graph_id"}
            await self.session.execute(
                statement.values(row).on_conflict_do_update(
                    index_elements=[Agent.graph_id], set_={**columns, "updated_at": func.now()}
                )
            )
        await self.session.execute(
            update(Agent).where(Agent.graph_id.in_(missing)).values(state="missing", error=None)
        )
