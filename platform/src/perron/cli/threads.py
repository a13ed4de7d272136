"""`perron threads`: state, history and owner."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from langgraph.types import StateSnapshot

from perron.cli.group import new_group
from perron.cli.identity import as_uuid
from perron.cli.options import AsJson, Limit
from perron.cli.output import nothing, print_fields, print_json, print_rows, say
from perron.cli.session import read
from perron.models.thread import Thread

app = new_group("Threads: state, history and owner.")

ThreadArgument = Annotated[str, typer.Argument(metavar="THREAD", help="The thread's id.")]


@app.command("list")
def list_threads(
    status: Annotated[str | None, typer.Option("--status", help="idle, busy, interrupted or error.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List threads, newest first."""
    threads = read(lambda platform: platform.threads.search(platform.caller, status=status, limit=limit))
    print_rows(
        [_row(thread) for thread in threads],
        {"thread": "thread_id", "agent": "agent", "status": "status", "runs": "runs", "owner": "owner",
         "changed": "state_updated_at"},
        as_json=as_json,
        empty=nothing(
            "threads", status=status, otherwise="No thread yet: `perron run AGENT --input JSON` makes one."
        ),
    )  # fmt: skip


@app.command()
def show(thread: ThreadArgument, as_json: AsJson = False) -> None:
    """Show a thread with the state that its last run left."""
    row = read(lambda platform: platform.threads.get(platform.caller, as_uuid(thread, "thread")))
    details = {"interrupts": row.interrupts, "error": row.error, "metadata": row.metadata_, "values": row.values}
    print_fields({**_row(row), **{key: value or None for key, value in details.items()}}, as_json=as_json)


@app.command()
def state(
    thread: ThreadArgument,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", metavar="ID", help="An earlier one: see `perron threads history`."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a thread's state as its checkpoint has it."""
    snapshot = read(lambda platform: platform.state(thread, checkpoint_id=checkpoint))
    if as_json:
        print_json({**_snapshot(snapshot), "values": snapshot.values})
        return
    print_fields(_snapshot(snapshot), as_json=False)
    print_json(snapshot.values)


@app.command()
def history(thread: ThreadArgument, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List a thread's checkpoints, newest first."""
    snapshots = read(lambda platform: platform.history(thread, limit=limit))
    rows = [{**_snapshot(each), "values": each.values} for each in snapshots]
    print_rows(
        rows,
        {"checkpoint": "checkpoint_id", "step": "step", "source": "source", "next": "next", "values": "values",
         "written": "created_at"},
        as_json=as_json,
        empty="The thread has no checkpoint yet.",
    )  # fmt: skip


@app.command()
def transfer(
    thread: ThreadArgument,
    to: Annotated[str, typer.Option("--to", metavar="PRINCIPAL", help="Who owns it from now on.")],
    as_json: AsJson = False,
) -> None:
    """Give a thread, its runs and what waits in it to somebody else."""
    row = read(lambda platform: platform.threads.transfer(platform.caller, as_uuid(thread, "thread"), to=to))
    if as_json:
        print_json(_row(row))
    else:
        say(f"The thread {row.thread_id} belongs to {row.owner} now.")


def _row(thread: Thread) -> dict[str, Any]:
    return {
        "thread_id": thread.thread_id,
        "agent": thread.metadata_.get("graph_id"),
        "status": thread.status,
        "runs": thread.next_seq - 1,
        "owner": thread.owner,
        "created_at": thread.created_at,
        "state_updated_at": thread.state_updated_at,
    }


def _snapshot(snapshot: StateSnapshot) -> dict[str, Any]:
    metadata = snapshot.metadata or {}
    return {
        "checkpoint_id": snapshot.config.get("configurable", {}).get("checkpoint_id"),
        "step": metadata.get("step"),
        "source": metadata.get("source"),
        "next": list(snapshot.next),
        "interrupts": [{"id": each.id, "value": each.value} for each in snapshot.interrupts],
        "created_at": snapshot.created_at,
    }
