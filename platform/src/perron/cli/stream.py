"""Printing a run's events as they come."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

from perron.cli.output import compact, plain, print_json_line, say
from perron.core.event import Event

_QUIET = ("metadata", "error", "end")
"""What people see in the result that follows."""


async def print_events(events: AsyncIterator[Event], *, as_json: bool) -> None:
    """Print events until the last one: JSON lines for programs; for people text as it grows, all else by line."""
    is_in_text = False
    async for event in events:
        if as_json:
            row = {"id": event.id, "event": event.event, "namespace": event.namespace, "data": event.data}
            print_json_line(row)
            continue
        if (token := _token(event)) is not None:
            sys.stdout.write(plain(token))
            sys.stdout.flush()
            is_in_text = is_in_text or bool(token)
            continue
        if is_in_text:
            sys.stdout.write("\n")
            is_in_text = False
        if event.event not in _QUIET:
            where = f" {event.namespace}" if event.namespace else ""
            say(f"{event.event}{where}: {compact(event.data)}")
    if is_in_text:
        sys.stdout.write("\n")


def _token(event: Event) -> str | None:
    """Return the text of a `messages` event."""
    if event.event != "messages" or not isinstance(event.data, list) or not event.data:
        return None
    message = event.data[0]
    return _text(message.get("content")) if isinstance(message, dict) else None


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
