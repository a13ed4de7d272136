"""`perron crons`: runs that are created by the clock."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from perron.cli.given import read_json, read_object
from perron.cli.group import new_group
from perron.cli.identity import as_uuid
from perron.cli.options import AsJson, Limit
from perron.cli.output import nothing, print_fields, print_json, print_rows, say
from perron.cli.session import read
from perron.models.cron import Cron
from perron.schemas.cron import CronCreate, CronUpdate
from perron.services.validation import as_invalid_input

app = new_group("Crons: runs that are created by the clock.")

CronArgument = Annotated[str, typer.Argument(metavar="CRON", help="The cron's id.")]
Input = Annotated[
    str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="What the agent is given each time.")
]
Timezone = Annotated[
    str | None, typer.Option("--timezone", metavar="ZONE", help="As in Europe/Zurich; default: UTC.")
]
End = Annotated[
    str | None, typer.Option("--end", metavar="TIME", help="The last moment, as in 2027-01-31T18:00:00+01:00.")
]
Context = Annotated[str | None, typer.Option("--context", metavar="JSON|@FILE", help="The runs' context.")]
Config = Annotated[
    str | None, typer.Option("--config", metavar="JSON|@FILE", help="The runs' config, as LangGraph's.")
]
Metadata = Annotated[
    str | None, typer.Option("--metadata", metavar="JSON|@FILE", help="Of the cron and of its runs.")
]
Webhook = Annotated[
    str | None, typer.Option("--webhook", metavar="URL", help="Tell this address of each run's end.")
]


@app.command()
def create(
    agent: Annotated[str, typer.Argument(help="An agent's name, or an assistant's id.")],
    schedule: Annotated[
        str, typer.Argument(metavar="SCHEDULE", help="As in '0 9 * * MON-FRI': minute, hour, day, month, weekday.")
    ],
    input_: Input = None,
    timezone: Timezone = None,
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="ID", help="All runs on this thread; default: each its own.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the threads of runs that have ended.")] = False,
    end: End = None,
    context: Context = None,
    config: Config = None,
    metadata: Metadata = None,
    webhook: Webhook = None,
    as_json: AsJson = False,
) -> None:
    """Run an agent by the clock, as long as a process with an open platform is there."""
    given = {
        "assistant_id": agent,
        "schedule": schedule,
        "thread_id": as_uuid(thread, "thread") if thread else None,
        "on_run_completed": "keep" if keep else None,
        **_given(timezone=timezone, end=end, webhook=webhook),
        **_read(input_, context, config, metadata),
    }
    try:
        body = CronCreate.model_validate(given)
    except ValidationError as exc:
        raise as_invalid_input(exc) from None
    _print(read(lambda platform: platform.crons.create(platform.caller, body)), as_json=as_json)


@app.command("list")
def list_crons(
    thread: Annotated[str | None, typer.Option("--thread", metavar="ID", help="Of this thread.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List crons, newest first."""
    thread_id = as_uuid(thread, "thread") if thread else None
    crons = read(lambda platform: platform.crons.search(platform.caller, thread_id=thread_id, limit=limit))
    print_rows(
        [_row(cron) for cron in crons],
        {"cron": "cron_id", "agent": "agent", "schedule": "schedule", "zone": "timezone", "state": "state",
         "next": "next_run_date", "error": "error"},
        as_json=as_json,
        empty=nothing(
            "crons", thread=thread, otherwise="No cron yet: `perron crons create AGENT SCHEDULE --input JSON`."
        ),
    )  # fmt: skip


@app.command()
def show(cron: CronArgument, as_json: AsJson = False) -> None:
    """Show a cron, and what its runs are given."""
    row = read(lambda platform: platform.crons.get(platform.caller, as_uuid(cron, "cron")))
    print_fields(_row(row), as_json=as_json)


@app.command()
def update(
    cron: CronArgument,
    schedule: Annotated[str | None, typer.Option("--schedule", metavar="SCHEDULE", help="Another one.")] = None,
    timezone: Timezone = None,
    end: End = None,
    no_end: Annotated[bool, typer.Option("--no-end", help="Take the end away.")] = False,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Go on, or stop for now.")] = None,
    keep: Annotated[
        bool | None, typer.Option("--keep/--delete", help="What becomes of the threads of ended runs.")
    ] = None,
    input_: Input = None,
    context: Context = None,
    config: Config = None,
    metadata: Metadata = None,
    webhook: Webhook = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given, and leave the rest."""
    given = {
        **_given(schedule=schedule, timezone=timezone, end=end, webhook=webhook, enabled=enable),
        **_read(input_, context, config, metadata),
    }
    if keep is not None:
        given["on_run_completed"] = "keep" if keep else "delete"
    if no_end:
        given["end_time"] = None
    try:
        body = CronUpdate.model_validate(given)
    except ValidationError as exc:
        raise as_invalid_input(exc) from None
    _print(
        read(lambda platform: platform.crons.update(platform.caller, as_uuid(cron, "cron"), body)),
        as_json=as_json,
    )


@app.command()
def delete(cron: CronArgument, as_json: AsJson = False) -> None:
    """Delete a cron; its runs stay."""
    cron_id = as_uuid(cron, "cron")
    read(lambda platform: platform.crons.delete(platform.caller, cron_id))
    if as_json:
        print_json({"cron_id": cron_id})
    else:
        say(f"The cron {cron_id} is deleted.")


def _given(*, end: str | None, **options: Any) -> dict[str, Any]:
    named = {**options, "end_time": end}
    return {name: value for name, value in named.items() if value is not None}


def _read(input_: str | None, context: str | None, config: str | None, metadata: str | None) -> dict[str, Any]:
    given = {} if input_ is None else {"input": read_json(input_, option="input")}
    objects = {"context": context, "config": config, "metadata": metadata}
    read_objects = {name: read_object(text, option=name) for name, text in objects.items() if text is not None}
    return {**given, **read_objects}


def _print(cron: Cron, *, as_json: bool) -> None:
    if as_json:
        print_json(_row(cron))
    elif cron.next_run_date is None:
        say(f"The cron {cron.cron_id} is disabled.")
    else:
        say(f"The cron {cron.cron_id} is due next at {_local(cron.next_run_date)}.")


def _local(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="minutes")


def _row(cron: Cron) -> dict[str, Any]:
    return {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "agent": cron.graph_id,
        "thread_id": cron.thread_id,
        "schedule": cron.schedule,
        "timezone": cron.timezone,
        "state": _state(cron),
        "enabled": cron.enabled,
        "error": cron.error,
        "next_run_date": cron.next_run_date,
        "end_time": cron.end_time,
        "on_run_completed": cron.on_run_completed,
        "payload": cron.payload,
        "metadata": cron.metadata_,
        "owner": cron.owner,
        "created_at": cron.created_at,
        "updated_at": cron.updated_at,
    }


def _state(cron: Cron) -> str:
    if cron.error:
        return "failed"
    if not cron.enabled:
        return "disabled"
    return "on" if cron.next_run_date else "ended"
