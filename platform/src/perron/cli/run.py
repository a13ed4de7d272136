"""`perron run`: run an agent and show what comes out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, get_args
from uuid import UUID

import typer

from perron.cli.given import read_json, read_object
from perron.cli.options import AsJson
from perron.cli.output import note, progress
from perron.cli.pauses import unpause_command
from perron.cli.result import show_result
from perron.cli.session import execute
from perron.cli.stream import print_events
from perron.core.platform import Platform
from perron.core.result import RunResult
from perron.errors import InvalidInputError, UnknownNameError
from perron.schemas.run import IfNotExists, MultitaskStrategy, StreamMode
from perron.services.pause import holding

app = typer.Typer()

_MODES = get_args(StreamMode)
_IF_NOT_EXISTS = get_args(IfNotExists)
_STRATEGIES = get_args(MultitaskStrategy)


@app.command()
def run(
    agent: Annotated[str, typer.Argument(help="The agent's name: see `perron agents list`.")],
    input_: Annotated[
        str | None, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="What the agent is given.")
    ] = None,
    thread: Annotated[str | None, typer.Option("--thread", metavar="ID", help="Go on with this thread.")] = None,
    if_not_exists: Annotated[
        str,
        typer.Option("--if-not-exists", metavar="create|reject", help="When there is no thread with this id."),
    ] = "reject",
    multitask_strategy: Annotated[
        str,
        typer.Option(
            "--multitask-strategy",
            metavar="enqueue|reject|interrupt|rollback",
            help="When the thread has a run: wait, refuse, cancel that, or cancel it and take back what it did.",
        ),
    ] = "enqueue",
    stream: Annotated[
        list[str] | None,
        typer.Option("--stream", metavar="MODE", help="Print events: values, updates, messages, custom, …"),
    ] = None,
    resumable: Annotated[
        bool,
        typer.Option("--resumable", help="Keep the events, to be followed later than a minute after the end."),
    ] = False,
    context: Annotated[
        str | None, typer.Option("--context", metavar="JSON|@FILE", help="The run's context.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", metavar="JSON|@FILE", help="The run's config, as LangGraph's.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="Tell this address of the run's end.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run an agent, wait for the end, and print the output and what waits for a person.

    Exit code: 0 done, 1 failed, 3 waiting for a person.
    """
    given: dict[str, Any] = {
        "input": read_json(input_, option="input"),
        "thread_id": thread,
        "if_not_exists": if_not_exists,
        "multitask_strategy": multitask_strategy,
        "context": read_object(context, option="context"),
        "config": read_object(config, option="config"),
        "webhook": webhook,
        "stream_resumable": resumable,
    }
    if if_not_exists not in _IF_NOT_EXISTS:
        raise InvalidInputError(f"--if-not-exists takes create or reject, not {if_not_exists!r}.")
    if multitask_strategy not in _STRATEGIES:
        raise InvalidInputError(
            f"--multitask-strategy takes {', '.join(_STRATEGIES[:-1])} or {_STRATEGIES[-1]}, "
            f"not {multitask_strategy!r}."
        )
    for mode in stream or ():
        if mode not in _MODES:
            raise UnknownNameError("stream mode", mode, _MODES)
    if stream:
        given["stream_mode"] = stream

    async def work(platform: Platform) -> RunResult:
        run_id = await platform.submit(agent, **given)
        result = await finished(platform, run_id, is_streaming=bool(stream), as_json=as_json)
        if webhook is not None:
            await _tell(platform, run_id)
        return result

    return show_result(execute(work), as_json=as_json, is_last_line=bool(stream))


async def finished(platform: Platform, run_id: UUID, *, is_streaming: bool, as_json: bool) -> RunResult:
    """Wait for the end of a run, printing its events when they are wanted."""
    try:  # from the first moment: whoever stops this has to know where the run is
        created = await platform.runs.get(platform.caller, run_id)
        pauses = await platform.pauses.list(platform.caller)
        if (pause := holding(created, pauses)) is not None:
            note(f"The run waits: {pause.subject} is paused ({pause.reason}). See `{unpause_command(pause)}`.")
        elif created.status == "pending":
            note("Waiting in line: the thread's earlier run has to end first, or be taken over from a dead one.")
        if is_streaming:
            await print_events(platform.follow(run_id), as_json=as_json)
            return await platform.join(run_id)
        with progress(f"Running {created.graph_id} …"):
            return await platform.join(run_id)
    except asyncio.CancelledError:
        note(f"The run stays in line for whoever opens the platform next: perron runs retry {run_id}")
        raise


async def _tell(platform: Platform, run_id: UUID) -> None:
    """Wait for the first attempt to tell the webhook, which this process makes while it is here."""
    with progress("Telling the webhook …"):
        while True:
            found = await platform.webhooks.search(platform.caller, run_id=run_id, limit=1)
            if not found or found[0].state != "pending" or found[0].error is not None:
                break
            await asyncio.sleep(platform.settings.poll_s)
    for delivery in found:
        if delivery.state == "delivered":
            note("The webhook has been told.")
        else:
            note(f"The webhook has not been told: {delivery.error} See `perron webhooks list`.")
