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

    async def put(self, rows: Sequence[dict[str, Any]]) -> None:
        """Insert or replace; `rows` hold every column but the times, and come in the order of their names."""
        statement = insert(Agent)
        columns = {name: statement.excluded[name] for name in (rows[0] if rows else {}) if name != "graph_id"}
        for row in rows:
            await self.session.execute(
                statement.values(row).on_conflict_do_update(
                    index_elements=[Agent.graph_id], set_={**columns, "updated_at": func.now()}
                )
            )

    async def mark_missing(self, graph_ids: Collection[str]) -> None:
        """Say of agents that nobody brings them any more."""
        await self.session.execute(
            update(Agent).where(Agent.graph_id.in_(graph_ids)).values(state="missing", error=None)
        )
