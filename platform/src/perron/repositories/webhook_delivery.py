"""SQL of webhook deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from perron.errors import DeliveryNotFoundError
from perron.models.webhook_delivery import WebhookDelivery
from perron.repositories.base import BaseRepository, older_than


class WebhookDeliveryRepository(BaseRepository[WebhookDelivery]):
    """Deliveries of a caller; what is due is found whoever's it is."""

    model = WebhookDelivery
    not_found = DeliveryNotFoundError

    async def search(
        self, *, state: str | None = None, run_id: UUID | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[WebhookDelivery]:
        """Return a page, newest first."""
        query = self.select()
        if state is not None:
            query = query.where(WebhookDelivery.state == state)
        if run_id is not None:
            query = query.where(WebhookDelivery.run_id == run_id)
        return await self.get_all(limit, offset=offset, query=self._newest_first(query))

    async def take_due(self, *, lease: timedelta, limit: int) -> Sequence[WebhookDelivery]:
        """Take what is due for an attempt, the longest due first: nobody else takes it within the lease."""
        due = (
            select(WebhookDelivery.delivery_id)
            .where(WebhookDelivery.state == "pending", WebhookDelivery.due_at <= func.clock_timestamp())
            .order_by(WebhookDelivery.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")  # read once: a subquery may be read again for each row, and take more than the limit
        )
        statement = (
            update(WebhookDelivery)
            .where(WebhookDelivery.delivery_id.in_(select(due.c.delivery_id)))
            .values(attempts=WebhookDelivery.attempts + 1, due_at=func.clock_timestamp() + lease)
            .returning(WebhookDelivery)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).scalars().all()

    async def delete_ended(self, *, age: timedelta, limit: int) -> Sequence[UUID]:
        """Delete what was delivered or given up so long ago, whoever's it is."""
        is_over = WebhookDelivery.state != "pending", WebhookDelivery.updated_at < older_than(age)
        return await self.delete_some(*is_over, limit=limit)

    async def end_attempt(
        self, delivery: WebhookDelivery, *, retry_in: timedelta | None = None, **values: Any
    ) -> None:
        """Write down how an attempt came out, unless a later one has begun since."""
        if retry_in is not None:
            values["due_at"] = func.clock_timestamp() + retry_in
        await self.session.execute(
            update(WebhookDelivery)
            .where(
                WebhookDelivery.delivery_id == delivery.delivery_id,
                WebhookDelivery.state == "pending",
                WebhookDelivery.attempts == delivery.attempts,
            )
            .values(**values)
            .execution_options(synchronize_session=False)
        )
