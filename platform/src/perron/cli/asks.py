"""`perron asks`: what waits for a person."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perron.cli.group import new_group
from perron.cli.options import AsJson, Limit
from perron.cli.output import cell, nothing, print_fields, print_rows, say, short_id
from perron.cli.result import answer_commands
from perron.cli.session import read
from perron.models.ask import Ask

app = new_group("Asks: what waits for a person.")


@app.command("list")
def list_asks(
    everything: Annotated[bool, typer.Option("--all", help="Those that were answered or dropped, too.")] = False,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="interrupt, approval, unknown_outcome, mismatch or connection."),
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List what waits, who has waited longest first."""
    asks = read(
        lambda platform: platform.asks.search(
            platform.caller, state=None if everything else "open", kind=kind, limit=limit
        )
    )
    columns = {"ask": "short_id", "kind": "kind", "question": "question", "arguments": "arguments"}
    columns |= {"agent": "agent", "state": "state"} if everything else {"agent": "agent"}
    print_rows(
        [_row(ask) for ask in asks],
        {**columns, "asked": "created_at"},
        as_json=as_json,
        empty=nothing("asks" if everything else "open asks", kind=kind, otherwise="Nothing waits for a person."),
    )
    if not as_json and any(ask.state == "open" for ask in asks):
        say("\nAnswer one with `perron answer ASK --approve`; `perron asks show ASK` says what it takes.")


@app.command()
def show(
    ask: Annotated[str, typer.Argument(metavar="ASK", help="The ask's id, or its last 8 digits.")],
    as_json: AsJson = False,
) -> None:
    """Show an ask, what it takes, and the command for each answer."""
    row = read(lambda platform: platform.asks.get(platform.caller, ask))
    fields = {key: value for key, value in _row(row).items() if key not in ("short_id", "agent")}
    print_fields({**fields, "answer_schema": row.answer_schema}, as_json=as_json)
    if row.state == "open" and not as_json:
        say("")
        for command in answer_commands(row.ask_id, row.decisions):
            say(command)


def _row(ask: Ask) -> dict[str, Any]:
    loaded = vars(ask)  # relationships that were not loaded on purpose are not there
    answer, run = loaded.get("answer"), loaded.get("run")
    return {
        "ask_id": ask.ask_id,
        "short_id": short_id(ask.ask_id),
        "kind": ask.kind,
        "question": cell(ask.question),
        "arguments": ask.arguments,
        "decisions": ask.decisions,
        "state": ask.state,
        "answer": {"decision": answer.decision, "value": answer.value, "by": answer.answered_by}
        if answer
        else None,
        "agent": run.graph_id if run else None,
        "run_id": ask.run_id,
        "thread_id": ask.thread_id,
        "call_id": ask.call_id,
        "deadline": ask.deadline,
        "created_at": ask.created_at,
    }
