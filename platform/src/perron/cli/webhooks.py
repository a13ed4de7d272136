"""`perron webhooks`: who was told of the ends of runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perron.cli.group import new_group
from perron.cli.identity import as_uuid
from perron.cli.options import AsJson, Limit
from perron.cli.output import nothing, print_json, print_rows, say
from perron.cli.session import read
from perron.models.webhook_delivery import WebhookDelivery

app = new_group("Webhooks: who was told of the ends of runs.")


@app.command("list")
def list_deliveries(
    state: Annotated[str | None, typer.Option("--state", help="pending, delivered or failed (given up).")] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Of this run.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first."""
    run_id = as_uuid(run, "run") if run else None
    deliveries = read(
        lambda platform: platform.webhooks.search(platform.caller, state=state, run_id=run_id, limit=limit)
    )
    print_rows(
        [_row(delivery) for delivery in deliveries],
        {"delivery": "delivery_id", "state": "state", "attempts": "attempts", "next": "next_attempt_at",
         "made": "created_at", "url": "url", "error": "error", "run": "run_id"},
        as_json=as_json,
        empty=nothing(
            "deliveries", state=state, run=run, otherwise="Nobody was told yet: `perron run AGENT --webhook URL`."
        ),
    )  # fmt: skip


@app.command()
def retry(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id.")],
    as_json: AsJson = False,
) -> None:
    """Send a delivery again now, also one that was given up; the next process with a worker does it."""
    delivery_id = as_uuid(delivery, "webhook")
    row = read(lambda platform: platform.webhooks.retry(platform.caller, delivery_id))
    if as_json:
        print_json(_row(row))
    else:
        say(f"The delivery {delivery_id} is due now: any open platform with a worker sends it.")


def _row(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "delivery_id": delivery.delivery_id,
        "run_id": delivery.run_id,
        "thread_id": delivery.thread_id,
        "url": delivery.url,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_attempt_at": delivery.due_at if delivery.state == "pending" else None,
        "answer_status": delivery.answer_status,
        "error": delivery.error,
        "owner": delivery.owner,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
    }
