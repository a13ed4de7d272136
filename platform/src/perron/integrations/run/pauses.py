"""What is paused, as this process knows it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database
from perron.models.pause import Pause
from perron.repositories.pause import PauseRepository


class Pauses:
    """The pauses of all tenants at the last look, so that steps and calls need none of their own.

    Who claims runs looks every `poll_s`: that is how late a pause is noticed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: Sequence[tuple[Pause, UUID | None]] = ()

    async def look(self) -> None:
        """Read what is paused now."""
        async with self._database.begin(autocommit=True) as session:
            self._found = await PauseRepository(session, Caller.system()).get_of_all_tenants()

    def of_agent(self, tenant: str, graph_id: str) -> Pause | None:
        """Return what keeps an agent's runs from going on."""
        for pause, _ in self._found:
            if pause.tenant == tenant and (pause.kind, pause.name) in (("agent", graph_id), ("all", "")):
                return pause
        return None

    def of_call(self, tenant: str, operation: str, connection_id: UUID | None) -> Pause | None:
        """Return what keeps a call from being begun; an effect belongs to the integration that begins its key."""
        key = operation.partition(".")[0]
        for pause, paused_id in self._found:
            is_its_connection = connection_id is not None and paused_id == connection_id
            if pause.tenant == tenant and (is_its_connection or (pause.kind, pause.name) == ("integration", key)):
                return pause
        return None
