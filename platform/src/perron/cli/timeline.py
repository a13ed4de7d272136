"""A run's timeline, drawn for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from perron.cli.output import NOTHING, compact, console, duration, say, short_id, shorten
from perron.services.timeline import Entry, Timeline

_COLOURS = {"failed": "red", "in_doubt": "red", "lost": "yellow", "waiting": "yellow", "open": "yellow"}
_SHOWN_CHARS = 100


def print_timeline(timeline: Timeline) -> None:
    """Print the entries as a table: when, what, how it came out, how long it took, and details."""
    if not timeline.entries:
        say("\nNothing has happened yet.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for title in ("at", "what", "state", "took", "details"):
        table.add_column(title, no_wrap=title != "details", overflow="fold")
    begin = timeline.entries[0].at
    for entry in timeline.entries:
        took = duration((entry.ended_at - entry.at).total_seconds()) if entry.ended_at else NOTHING
        table.add_row(
            f"+{(entry.at - begin).total_seconds():.2f} s",
            Text(_what(entry)),
            Text(entry.state.replace("_", " "), style=_COLOURS.get(entry.state, "")),
            took,
            Text("\n".join(_details(entry, timeline))),
        )
    say("")
    console().print(table)


def _what(entry: Entry) -> str:
    return {
        "attempt": "attempt",
        "step": entry.name,
        "call": f"  → {entry.name}",
        "ask": f"  ? {entry.name.replace('_', ' ')}",
    }[entry.kind]


def _details(entry: Entry, timeline: Timeline) -> Iterator[str]:
    facts = entry.facts
    if entry.kind == "attempt":
        yield f"attempt {facts.get('attempt', 1)} at the run, {entry.name}"
    elif entry.kind == "step" and facts["namespace"]:
        yield f"in {facts['namespace']}"
    elif entry.kind == "call":
        yield from _of_call(facts)
    elif entry.kind == "ask":
        yield f"{facts['question']} ({short_id(facts['ask_id'])})"
        if "decision" in facts:
            value = f" {compact(facts['value'])}" if facts["value"] is not None else ""
            yield shorten(f"{facts['decision']}{value} by {facts['answered_by']}", _SHOWN_CHARS)
            if facts["resumed_by"] != timeline.run.run_id:
                yield f"goes on in run {facts['resumed_by']}"


def _of_call(facts: dict[str, Any]) -> Iterator[str]:
    yield shorten(compact(facts["arguments"]), _SHOWN_CHARS)
    for attempt in facts["attempts"]:
        request = " ".join(str(attempt[key]) for key in ("method", "path") if attempt[key])
        answer = attempt["status"] or attempt["outcome"].replace("_", " ")
        error = f" ({attempt['error']})" if attempt["error"] else ""
        yield shorten(f"{request or 'executed'}: {answer}{error}", _SHOWN_CHARS)
    if facts["error"]:
        yield shorten(str(facts["error"].get("message", "")), _SHOWN_CHARS)
