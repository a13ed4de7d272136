"""Rules of webhooks: who was told of the ends of runs, and who is to be told again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import AlreadyDeliveredError
from perron.models.webhook_delivery import DeliveryState, WebhookDelivery
from perron.repositories.base import DATABASE_NOW
from perron.repositories.webhook_delivery import WebhookDeliveryRepository
from perron.services.filter import check_filter


class WebhookService:
    """Webhook deliveries of callers; `WebhookSending` sends them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(
        self,
        caller: Caller,
        *,
        state: str | None = None,
        run_id: UUID | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[WebhookDelivery]:
        """Return a page, newest first.

        Raises:
            InvalidInputError: There is no such state.
        """
        check_filter("state", "webhook deliveries", state, get_args(DeliveryState))
        async with self._database.begin() as session:
            deliveries = WebhookDeliveryRepository(session, caller)
            return await deliveries.search(state=state, run_id=run_id, limit=limit, offset=offset)

    async def retry(self, caller: Caller, delivery_id: UUID) -> WebhookDelivery:
        """Send a delivery now, under its old id; with all its attempts before it if it was given up.

        Raises:
            DeliveryNotFoundError: No such delivery for this caller.
            AlreadyDeliveredError: It has arrived.
        """
        async with self._database.begin() as session:
            deliveries = WebhookDeliveryRepository(session, caller)
            delivery = await deliveries.get(delivery_id, lock=True)
            if delivery.state == "delivered":
                raise AlreadyDeliveredError(
                    f"The delivery {delivery_id} has arrived: there is nothing to send again.",
                    delivery_id=str(delivery_id),
                )
            if delivery.state == "failed":
                delivery.state, delivery.attempts = "pending", 0
            delivery.due_at = DATABASE_NOW
            await session.flush()
            await session.refresh(delivery)
            return delivery
