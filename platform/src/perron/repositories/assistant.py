"""SQL of assistants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.interfaces import ORMOption

from perron.caller import SYSTEM
from perron.errors import AssistantNotFoundError
from perron.models.assistant import Assistant, AssistantVersion
from perron.repositories.base import BaseRepository


class AssistantRepository(BaseRepository[Assistant]):
    """Assistants of a caller; the system's are everybody's to see and to run, and only admins' to change."""

    model = Assistant
    not_found = AssistantNotFoundError

    def select_usable(self) -> Select[Assistant]:
        """Start a query over those that the caller may run: its own, and the system's."""
        return select(Assistant).where(or_(and_(*self.visible()), Assistant.owner == SYSTEM))

    async def get_visible(self, assistant_id: UUID, *options: ORMOption) -> Assistant:
        """Return an assistant that the caller may run.

        Raises:
            AssistantNotFoundError: There is none.
        """
        query = self.select_usable().where(Assistant.assistant_id == assistant_id).options(*options)
        assistant = (await self.session.execute(query)).scalar_one_or_none()
        if assistant is None:
            raise AssistantNotFoundError(assistant_id)
        return assistant

    async def get_with_versions(self, assistant_id: UUID) -> Assistant:
        """Return an assistant that the caller may run, with all its versions, newest first."""
        return await self.get_visible(assistant_id, selectinload(Assistant.versions))

    async def search(
        self, *, graph_id: str | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[Assistant]:
        """Return a page of those that the caller may run, newest first."""
        query = self.select_usable()
        if graph_id is not None:
            query = query.where(Assistant.graph_id == graph_id)
        query = query.order_by(Assistant.created_at.desc(), Assistant.assistant_id).limit(limit).offset(offset)
        return (await self.session.execute(query)).scalars().all()

    async def create_system(self, graph_ids: Mapping[UUID, str]) -> None:
        """Make system assistants with their first version, by id; those that exist stay as they are."""
        for assistant_id, graph_id in graph_ids.items():
            values: dict[str, Any] = {
                "assistant_id": assistant_id,
                "graph_id": graph_id,
                "name": graph_id,
                "metadata_": {"created_by": "system"},
            }
            owned = {"tenant": self.caller.tenant, "owner": SYSTEM}
            made = insert(Assistant).values(**values, **owned).on_conflict_do_nothing()
            if (await self.session.execute(made.returning(Assistant.assistant_id))).first() is not None:
                await self.session.execute(insert(AssistantVersion).values(**values, version=1))
