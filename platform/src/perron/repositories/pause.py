"""SQL of pauses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from typing_extensions import override

from perron.ids import new_id
from perron.models.connection import Connection
from perron.models.pause import Pause, PauseKind
from perron.models.run import Run
from perron.repositories.base import BaseRepository
from perron.repositories.worker import lives


def holds() -> ColumnElement[bool]:
    """Return the condition that a pause keeps a run in line.

    A run that was given back for a pause stays as long as that pause does: to unpause is to delete one row,
    however many runs wait, and a run that is given back a moment later waits for nothing.
    """
    return and_(
        Pause.tenant == Run.tenant,
        or_(
            Pause.kind == "all",
            and_(Pause.kind == "agent", Pause.name == Run.graph_id),
            Pause.pause_id == Run.parked_by,
        ),
    )


def is_held() -> ColumnElement[bool]:
    """Return the condition that some pause keeps a run in line."""
    return exists().where(holds())


class PauseRepository(BaseRepository[Pause]):
    """Pauses of the caller's tenant: everybody may see them, who may change them is the service's rule."""

    model = Pause

    @override
    def visible(self) -> list[ColumnElement[bool]]:
        return [Pause.tenant == self.caller.tenant]

    async def put(self, kind: PauseKind, name: str, *, reason: str) -> Pause:
        """Pause something; of what is paused already, change the reason."""
        values = {"reason": reason, "paused_by": self.caller.principal}
        statement = (
            insert(Pause)
            .values(pause_id=new_id(), tenant=self.caller.tenant, kind=kind, name=name, **values)
            .on_conflict_do_update(
                index_elements=["tenant", "kind", "name"], set_={**values, "updated_at": func.now()}
            )
            .returning(Pause)
        )
        return (await self.session.execute(statement)).scalar_one()

    async def remove(self, kind: PauseKind, name: str) -> bool:
        """Let something go on; False when it was not paused."""
        statement = delete(Pause).where(*self.visible(), Pause.kind == kind, Pause.name == name)
        return (await self.session.execute(statement.returning(Pause.pause_id))).first() is not None

    async def get_sorted(self) -> Sequence[Pause]:
        """Return all, the oldest first."""
        return (await self.session.execute(self.select().order_by(Pause.created_at))).scalars().all()

    async def get_of_all_tenants(self) -> Sequence[tuple[Pause, UUID | None]]:
        """Return all pauses of the platform, those of connections once for each connection, with its id."""
        connection = and_(
            Pause.kind == "connection",
            Connection.tenant == Pause.tenant,
            func.concat(Connection.integration, "/", Connection.name) == Pause.name,
        )
        query = select(Pause, Connection.connection_id).outerjoin(Connection, connection)
        rows = await self.session.execute(query.order_by(Pause.created_at))
        return [(row[0], cast("UUID | None", row[1])) for row in rows]

    async def count_held(self) -> dict[UUID, int]:
        """Count the runs of all tenants that each pause keeps in line; one of two pauses counts for both."""
        waits = or_(Run.status == "pending", and_(Run.status == "running", ~lives(Run.worker_id)))
        query = select(Pause.pause_id, func.count()).join(Run, holds()).where(waits).group_by(Pause.pause_id)
        return {row[0]: row[1] for row in await self.session.execute(query)}
