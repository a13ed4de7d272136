"""Rules of assistants: which one a client means."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import AgentNotFoundError
from perron.ids import system_assistant_id
from perron.models.assistant import Assistant
from perron.repositories.agent import AgentRepository
from perron.repositories.assistant import AssistantRepository


class AssistantService:
    """Assistants of callers: their own, and the system's, one for each agent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, name: str | UUID) -> Assistant:
        """Return an assistant with its versions, by its id; an agent's name means its system assistant.

        Raises:
            AssistantNotFoundError: The caller has none of this id.
            AgentNotFoundError: It is no id, and no agent has this name.
        """
        assistant_id = _as_id(name)
        async with self._database.begin() as session:
            if assistant_id is None:
                agents = {agent.graph_id for agent in await AgentRepository(session, caller).get_sorted()}
                if name not in agents:
                    raise AgentNotFoundError(str(name), agents)
                assistant_id = system_assistant_id(str(name))
            return await AssistantRepository(session, caller).get_with_versions(assistant_id)

    async def search(
        self, caller: Caller, *, graph_id: str | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[Assistant]:
        """Return a page of those that the caller may run, newest first."""
        async with self._database.begin() as session:
            return await AssistantRepository(session, caller).search(graph_id=graph_id, limit=limit, offset=offset)


def _as_id(name: str | UUID) -> UUID | None:
    try:
        return name if isinstance(name, UUID) else UUID(name)
    except ValueError:
        return None
