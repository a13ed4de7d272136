"""SQL of connections."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, update

from perron.errors import ConnectionNotFoundError
from perron.models.connection import SHARED, Connection
from perron.repositories.base import BaseRepository

DEFAULT_NAME = "default"


class ConnectionRepository(BaseRepository[Connection]):
    """Accounts of integrations. Everybody's calls may use a shared one; only admins see and change it."""

    model = Connection

    async def find_for(self, integration: str) -> Connection | None:
        """Return the connection that the caller's calls use: an own one before a shared one."""
        query = (
            select(Connection)
            .where(
                Connection.tenant == self.caller.tenant,
                Connection.owner.in_((self.caller.principal, SHARED)),
                Connection.integration == integration,
                Connection.state != "disabled",
            )
            .order_by(Connection.owner == SHARED, Connection.name != DEFAULT_NAME, Connection.created_at)
            .limit(1)
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def find_named(self, integration: str, name: str, *, owner: str) -> Connection | None:
        """Return an owner's connection of this name."""
        query = self.select().where(
            Connection.integration == integration, Connection.name == name, Connection.owner == owner
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    async def search(
        self, *, integration: str | None = None, name: str | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Connection]:
        """Return a page, by integration, owner and name."""
        query = self.select()
        if integration is not None:
            query = query.where(Connection.integration == integration)
        if name is not None:
            query = query.where(Connection.name == name)
        query = query.order_by(Connection.integration, Connection.owner, Connection.name).limit(limit)
        return (await self.session.execute(query.offset(offset))).scalars().all()

    async def get_one(self, integration: str, name: str | None = None) -> Connection:
        """Return the connection of this name, or the first one of the integration.

        Raises:
            ConnectionNotFoundError: There is none for this caller.
        """
        found = await self.search(integration=integration, name=name, limit=1)
        if not found:
            raise ConnectionNotFoundError(integration, name)
        return found[0]

    async def save(self, row: Connection) -> Connection:
        """Insert or update a row, and read back what the database has set."""
        self.session.add(row)
        await self.session.flush()
        await self.session.refresh(row)
        return row

    async def note_refusal(self, connection_id: UUID) -> None:
        """Mark a connection whose credentials the API did not take."""
        await self.session.execute(
            update(Connection)
            .where(Connection.tenant == self.caller.tenant, Connection.connection_id == connection_id)
            .values(state="auth_failed", reason="The API refused the credentials.")
        )
