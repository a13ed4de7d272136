"""`perron threads`: state, history, owner and time to live."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from langgraph.types import StateSnapshot
from pydantic import ValidationError

from perron.cli.given import read_object
from perron.cli.group import new_group
from perron.cli.identity import as_uuid
from perron.cli.options import AsJson, Limit
from perron.cli.output import nothing, print_fields, print_json, print_rows, say
from perron.cli.prune import prune
from perron.cli.session import read
from perron.cli.storage import storage
from perron.errors import InvalidInputError
from perron.models.thread import Thread
from perron.schemas.thread import ThreadUpdate, Ttl
from perron.services.validation import as_invalid_input

app = new_group("Threads: state, history and owner.")
app.command()(prune)
app.command()(storage)

Metadata = Annotated[str | None, typer.Option("--metadata", metavar="JSON|@FILE", help="Merged into what it has.")]
TtlMinutes = Annotated[
    float | None, typer.Option("--ttl", metavar="MINUTES", help="How long it lasts after its last update.")
]
TtlStrategy = Annotated[
    str,
    typer.Option(
        "--ttl-strategy", metavar="delete|keep_latest", help="What goes then: it, or all but its latest."
    ),
]
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
def create(
    thread: Annotated[str | None, typer.Option("--id", metavar="ID", help="A UUID of your own.")] = None,
    metadata: Metadata = None,
    ttl: TtlMinutes = None,
    ttl_strategy: TtlStrategy = "delete",
    as_json: AsJson = False,
) -> None:
    """Make an idle thread."""
    thread_id = as_uuid(thread, "thread") if thread else None
    given, lasts = read_object(metadata, option="metadata"), _ttl(ttl, ttl_strategy)
    row = read(
        lambda platform: platform.threads.create(platform.caller, thread_id=thread_id, metadata=given, ttl=lasts)
    )
    if as_json:
        print_json(_row(row))
    else:
        say(f"The thread {row.thread_id} is made.{_lasting(row)}")


@app.command()
def update(
    thread: ThreadArgument,
    metadata: Metadata = None,
    ttl: TtlMinutes = None,
    ttl_strategy: TtlStrategy = "delete",
    no_ttl: Annotated[bool, typer.Option("--no-ttl", help="Let it last until somebody deletes it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change metadata or the time to live, and leave the rest."""
    if no_ttl and ttl is not None:
        raise InvalidInputError("--ttl and --no-ttl contradict each other.")
    given: dict[str, Any] = {"metadata": read_object(metadata, option="metadata")} if metadata else {}
    if no_ttl or ttl is not None:
        given["ttl"] = _ttl(ttl, ttl_strategy)
    if not given:
        raise InvalidInputError("Nothing to change: give --metadata, --ttl or --no-ttl.")
    thread_id = as_uuid(thread, "thread")
    row = read(lambda platform: platform.threads.update(platform.caller, thread_id, ThreadUpdate(**given)))
    if as_json:
        print_json(_row(row))
    else:
        say(f"The thread {row.thread_id} is changed.{_lasting(row)}")


@app.command()
def copy(thread: ThreadArgument, as_json: AsJson = False) -> None:
    """Copy a thread with all its checkpoints; the copy has no runs, and nothing waits in it."""
    copied = read(lambda platform: platform.copy_thread(as_uuid(thread, "thread")))
    if as_json:
        print_json({"thread_id": copied, "copy_of": thread})
    else:
        say(f"The copy is the thread {copied}: `perron run AGENT --thread {copied}` goes on there.")


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
        "ttl": {**thread.ttl, "expires_at": thread.expires_at} if thread.ttl else None,
    }


def _ttl(minutes: float | None, strategy: str) -> Ttl | None:
    try:
        return None if minutes is None else Ttl.model_validate({"ttl": minutes, "strategy": strategy})
    except ValidationError as exc:
        raise as_invalid_input(exc) from None


def _lasting(thread: Thread) -> str:
    if thread.ttl is None:
        return ""
    what = "It goes" if thread.ttl["strategy"] == "delete" else "All but its latest state goes"
    return f" {what} {thread.ttl['ttl_minutes']:g} minutes after its last update."


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
