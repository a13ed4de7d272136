"""`perron runs`: what happened, and what goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, cast, get_args

import typer

from perron.cli.group import new_group
from perron.cli.identity import as_uuid
from perron.cli.options import All, AsJson, Limit
from perron.cli.output import duration, nothing, print_fields, print_json, print_json_lines, print_rows, say
from perron.cli.pauses import parked, unpause_command
from perron.cli.result import show_result
from perron.cli.run import finished
from perron.cli.session import execute, read
from perron.cli.stream import print_events
from perron.cli.timeline import print_timeline
from perron.core.platform import Platform
from perron.core.result import RunResult
from perron.errors import InvalidInputError
from perron.models.pause import Pause
from perron.models.run import CancelAction, Run
from perron.services.pause import holding
from perron.services.timeline import Timeline

app = new_group("Runs: what happened, and what goes on.")

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


@app.command("list")
def list_runs(
    thread: Annotated[str | None, typer.Option("--thread", metavar="ID", help="Of this thread.")] = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            help="pending, running, success, error, timeout or interrupted; waiting: a success with an open ask.",
        ),
    ] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Of this agent.")] = None,
    limit: Limit = 20,
    every: All = False,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    filters: dict[str, Any] = {
        "thread_id": as_uuid(thread, "thread") if thread else None,
        "status": status,
        "graph_id": agent,
    }

    async def print_every(platform: Platform) -> None:
        pauses = await platform.pauses.list(platform.caller)
        runs = platform.runs.stream(platform.caller, **filters)
        await print_json_lines(runs, lambda run: _row(run, pauses))

    async def work(platform: Platform) -> tuple[Sequence[Run], Sequence[Pause]]:
        runs = await platform.runs.search(platform.caller, **filters, limit=limit)
        return runs, await platform.pauses.list(platform.caller)

    if every:
        read(print_every)
        return
    runs, pauses = read(work)
    print_rows(
        [_row(run, pauses) if as_json else _shown(run, pauses) for run in runs],
        {"run": "run_id", "agent": "agent", "status": "status", "began": "created_at", "took": "took",
         "thread": "thread_id"},
        as_json=as_json,
        empty=nothing(
            "runs", thread=thread, status=status, agent=agent,
            otherwise="No run yet: `perron run AGENT --input JSON`.",
        ),
    )  # fmt: skip


@app.command()
def show(run: RunArgument, as_json: AsJson = False) -> None:
    """Show a run as one timeline of steps, calls and waits."""

    async def work(platform: Platform) -> tuple[Timeline, Sequence[Pause]]:
        timeline = await platform.timelines.get(platform.caller, as_uuid(run, "run"))
        return timeline, await platform.pauses.list(platform.caller)

    timeline, pauses = read(work)
    row = {**_row(timeline.run, pauses), "input": timeline.run.kwargs.get("input"), "output": timeline.run.output}
    if as_json:
        print_json({**row, "timeline": [asdict(entry) for entry in timeline.entries]})
        return
    pause = holding(timeline.run, pauses)
    why = pause and f"{pause.subject} is paused: {pause.reason} (`{unpause_command(pause)}` lets it go on)"
    fields = {**row, "parked": why, "waiting": row["waiting"] or None, "output": None}
    print_fields(fields, as_json=False)
    print_timeline(timeline)
    if timeline.run.output is not None:
        say("\noutput")
        print_json(timeline.run.output)


@app.command()
def cancel(
    run: RunArgument,
    action: Annotated[
        str,
        typer.Option(
            "--action",
            metavar="interrupt|rollback",
            help="Keep what the run has done, or take it back; its calls stay done, and in the journal.",
        ),
    ] = "interrupt",
    as_json: AsJson = False,
) -> None:
    """Cancel a run; one that another process executes stops within a second or two."""
    if action not in get_args(CancelAction):
        raise InvalidInputError(f"--action takes interrupt or rollback, not {action!r}.")
    row = read(lambda platform: platform.cancel(run, action=cast("CancelAction", action)))
    if as_json:
        print_json(_row(row) if row is not None else {"run_id": run, "status": "gone"})
    elif row is None:
        say(f"The run {run} is gone, and its thread is as before it.")
    elif row.status == "running":
        ending = " and take back what it has done" if action == "rollback" else ""
        say(f"The worker of run {row.run_id} has been told to stop it{ending}.")
    else:
        say(f"The run {row.run_id} is cancelled.")


@app.command()
def retry(run: RunArgument, as_json: AsJson = False) -> int:
    """Run a failed or cancelled run on from where it stopped; wait for one that is in line.

    Exit code: 0 done, 1 failed, 3 waiting for a person.
    """

    async def work(platform: Platform) -> RunResult:
        body = await platform.runs.prepare_retry(platform.caller, as_uuid(run, "run"))
        if body is None:
            return await finished(platform, as_uuid(run, "run"), is_streaming=False, as_json=as_json)
        return await platform.retry(run)

    return show_result(execute(work), as_json=as_json)


@app.command()
def follow(
    run: RunArgument,
    after: Annotated[str, typer.Option("--after", metavar="EVENT", help="Begin behind this event id.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print a run's events until it ends, wherever it executes; executes nothing itself."""

    async def work(platform: Platform) -> None:
        await print_events(platform.follow(run, after=after), as_json=as_json)

    read(work)


def _row(run: Run, pauses: Sequence[Pause] = ()) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "agent": run.graph_id,
        "agent_version": run.agent_version,
        "status": run.status,
        "waiting": [ask.ask_id for ask in run.asks if ask.state == "open"],
        "epoch": run.epoch,
        "attempt": run.attempt,
        "parked": parked(run, pauses),
        "worker_id": run.worker_id,
        "owner": run.owner,
        "error": run.error,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }


def _shown(run: Run, pauses: Sequence[Pause]) -> dict[str, Any]:
    row = _row(run, pauses)
    if row["parked"]:
        row["status"] = f"parked ({row['parked']['by']})"
    if row["waiting"] and run.status == "success":
        row["status"] = "waiting"
    if run.started_at and run.finished_at:
        row["took"] = duration((run.finished_at - run.started_at).total_seconds())
    return row
