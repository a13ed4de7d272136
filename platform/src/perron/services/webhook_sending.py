"""Sending webhooks: each due delivery by one process at a time, until it arrives or is given up."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import structlog
from standardwebhooks import Webhook

from perron import clock
from perron.caller import Caller
from perron.configuration import PlatformSettings
from perron.database.encoding import dumps
from perron.database.engine import Database
from perron.errors import InvalidInputError
from perron.integrations.api.transport import HttpClient, Request
from perron.integrations.exchange import NoAnswer, NotSent
from perron.models.webhook_delivery import WebhookDelivery
from perron.repositories.base import DATABASE_NOW
from perron.repositories.webhook_delivery import WebhookDeliveryRepository
from perron.services.webhook_address import RESOLVE_S, Resolve, WebhookAddress

log = structlog.get_logger(__name__)

_AT_ONCE = 16
_ADDRESSES = 2
"""How many addresses of a receiver an attempt tries."""
_MOST_ATTEMPTS = 15
_FIRST_PAUSE = timedelta(seconds=10)
_LONGEST_PAUSE = timedelta(hours=6)


class WebhookSending:
    """Sends what the outbox has, of all tenants; attempts go on for about a day."""

    def __init__(self, database: Database, settings: PlatformSettings, *, resolve: Resolve | None = None) -> None:
        self._database = database
        self._settings = settings
        self._resolve = resolve
        secret = settings.webhook_secret
        self._signer = Webhook(secret.get_secret_value()) if secret else None
        # Longer than an attempt takes: one whose process has died is made again after it.
        self._lease = timedelta(seconds=RESOLVE_S + _ADDRESSES * settings.webhook_timeout_s + 10)

    async def deliver_due(self) -> bool:
        """Attempt what is due; say whether there may be more."""
        async with self._database.begin() as session:
            deliveries = WebhookDeliveryRepository(session, Caller.system())
            due = await deliveries.take_due(lease=self._lease, limit=_AT_ONCE)
        if due:
            client = HttpClient.to_addresses()
            try:
                async with asyncio.TaskGroup() as attempts:
                    for delivery in due:
                        attempts.create_task(self._attempt(client, delivery))
            finally:
                await client.close()
        return len(due) == _AT_ONCE

    async def _attempt(self, client: HttpClient, delivery: WebhookDelivery) -> None:
        status, problem, is_final = None, None, False
        try:
            status = await self._send(client, delivery)
            if not 200 <= status < 300:
                redirects = "; redirects are not followed" if 300 <= status < 400 else ""
                problem = f"The receiver answered {status}{redirects}."
        except InvalidInputError as exc:
            problem, is_final = exc.message, True
        except TimeoutError:
            problem = f"The name of the receiver was not resolved within {RESOLVE_S:g} s."
        except OSError as exc:
            problem = f"The name of the receiver cannot be resolved: {exc.strerror or exc}."
        except (NotSent, NoAnswer) as exc:
            problem = f"The receiver gave no answer: {exc.detail}."
        values: dict[str, Any] = {"answer_status": status, "error": problem}
        retry_in: timedelta | None = None
        if problem is None:
            values |= {"state": "delivered", "delivered_at": DATABASE_NOW}
            values |= {"run": None, "values": None, "interrupts": None}
        elif is_final or delivery.attempts >= _MOST_ATTEMPTS:
            values["state"] = "failed"
            log.warning("webhook_failed", delivery_id=str(delivery.delivery_id), reason=problem)
        else:
            retry_in = pause_after(delivery.attempts)
        async with self._database.begin() as session:
            deliveries = WebhookDeliveryRepository(session, Caller.system())
            await deliveries.end_attempt(delivery, retry_in=retry_in, **values)

    async def _send(self, client: HttpClient, delivery: WebhookDelivery) -> int:
        """Post to the address that was checked, and to no other; return the status of the answer."""
        address = WebhookAddress.parse(delivery.url)
        found = await address.resolve(allow_private=self._settings.webhook_allow_private, resolve=self._resolve)
        found = found[:_ADDRESSES]
        body = dumps(_body(delivery))
        headers = {"host": address.host_header, **self._headers(delivery, body)}
        for number, ip in enumerate(found, start=1):
            request = Request("POST", address.at(ip), headers, body.encode(), server_name=address.host)
            try:
                answer = await client.exchange(
                    request, timeout_s=self._settings.webhook_timeout_s, before_bytes=lambda: None
                )
            except NotSent:
                if number == len(found):
                    raise
            else:
                return answer.status
        raise NotSent("its name has no address")

    def _headers(self, delivery: WebhookDelivery, body: str) -> dict[str, str]:
        now = clock.now()
        webhook_id = str(delivery.delivery_id)
        headers = {
            "content-type": "application/json",
            "user-agent": "perron",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._signer is not None:
            headers["webhook-signature"] = self._signer.sign(webhook_id, now, body)
        return headers


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts."""
    return min(_FIRST_PAUSE * (1 << attempts - 1), _LONGEST_PAUSE)


def _body(delivery: WebhookDelivery) -> dict[str, Any]:
    values = delivery.values
    if delivery.interrupts and isinstance(values, dict):
        values = {**values, "__interrupt__": delivery.interrupts}
    return {**(delivery.run or {}), "values": values, "webhook_sent_at": clock.now().isoformat()}
