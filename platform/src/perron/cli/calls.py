"""`perron calls`: the journal of what was sent to APIs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perron.cli.group import new_group
from perron.cli.identity import as_uuid
from perron.cli.options import All, AsJson, Limit
from perron.cli.output import nothing, print_fields, print_json_lines, print_rows, say
from perron.cli.session import read
from perron.models.call import Call, CallAttempt

app = new_group("Calls: the journal of what was sent to APIs.")


@app.command("list")
def list_calls(
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Of this run.")] = None,
    thread: Annotated[str | None, typer.Option("--thread", metavar="ID", help="Of this thread.")] = None,
    operation: Annotated[str | None, typer.Option("--operation", metavar="NAME", help="As desk.refund.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="begun, sent, done, failed, in_doubt or aborted.")
    ] = None,
    limit: Limit = 20,
    every: All = False,
    as_json: AsJson = False,
) -> None:
    """List calls, newest first; what is secret in arguments and results is redacted."""
    filters: dict[str, Any] = {
        "run_id": as_uuid(run, "run") if run else None,
        "thread_id": as_uuid(thread, "thread") if thread else None,
        "operation": operation,
        "state": state,
    }
    if every:
        read(lambda platform: print_json_lines(platform.calls.stream(platform.caller, **filters), _row))
        return
    calls = read(lambda platform: platform.calls.search(platform.caller, **filters, limit=limit))
    print_rows(
        [_row(call) for call in calls],
        {
            "call": "call_id",
            "operation": "operation",
            "state": "state",
            "arguments": "arguments",
            "node": "node",
            "begun": "created_at",
        },
        as_json=as_json,
        empty=nothing(
            "calls",
            run=run,
            thread=thread,
            operation=operation,
            state=state,
            otherwise="No call yet: agents make them through integrations and @effect functions.",
        ),
    )


@app.command()
def show(
    call: Annotated[str, typer.Argument(metavar="CALL", help="The call's id.")], as_json: AsJson = False
) -> None:
    """Show a call with every attempt at it."""
    row = read(lambda platform: platform.calls.get(platform.caller, call))
    attempts = [_attempt(attempt) for attempt in row.attempts]
    fields = {**_row(row), "repeat": row.repeat, "idempotency_key": row.idempotency_key, "result": row.result}
    if as_json:
        print_fields({**fields, "attempts": attempts}, as_json=True)
        return
    print_fields(fields, as_json=False)
    say("")
    columns = {"sent": "sent_at", "request": "request", "outcome": "outcome", "status": "status", "error": "error"}
    print_rows(attempts, columns, as_json=False, empty="Nothing was sent for it.")


def _row(call: Call) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "operation": call.operation,
        "effect": call.effect,
        "state": call.state,
        "arguments": call.arguments,
        "error": call.error,
        "node": call.node,
        "run_id": call.run_id,
        "thread_id": call.thread_id,
        "created_at": call.created_at,
        "finished_at": call.finished_at,
    }


def _attempt(attempt: CallAttempt) -> dict[str, Any]:
    request = " ".join(part for part in (attempt.method, attempt.host, attempt.path) if part)
    return {
        "attempt_id": attempt.attempt_id,
        "run_id": attempt.run_id,
        "epoch": attempt.epoch,
        "worker_id": attempt.worker_id,
        "request": request or "executed",
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error": attempt.error,
        "request_body": attempt.request_body,
        "response_body": attempt.response_body,
        "sent_at": attempt.sent_at,
        "finished_at": attempt.finished_at,
    }
