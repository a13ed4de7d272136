"""What commands print: tables and fields for people, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from perron import clock
from perron.database.encoding import clean

Row = Mapping[str, Any]
T = TypeVar("T")

NOTHING = "–"
_SHORT_ID_CHARS = 8
_PIPE_WIDTH = 400
_SHOWN_CHARS = 70
# A terminal obeys what it is sent, and the texts of agents and APIs end up here: only newline and tab go through.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def console(*, stderr: bool = False) -> Console:
    """Return the console of stdout or stderr as it is now; into a pipe nothing is cut to the width of a screen."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _PIPE_WIDTH)


def say(text: str) -> None:
    """Print a line for people."""
    console().print(Text(plain(text)), soft_wrap=True)


def note(text: str) -> None:
    """Print a line about what is going on to stderr, where it does not mix with the output."""
    console(stderr=True).print(Text(plain(text), style="dim"), soft_wrap=True)


def progress(text: str) -> Status:
    """Return a spinner on stderr; where that is no terminal it shows nothing."""
    return console(stderr=True).status(text)


def print_json(value: Any) -> None:
    """Print any value as indented JSON; times are ISO 8601."""
    _write(json.dumps(clean(value)[0], indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Print any value as one line of JSON, at once."""
    _write(json.dumps(clean(value)[0], ensure_ascii=False))
    sys.stdout.flush()


async def print_json_lines(rows: AsyncIterator[T], row_of: Callable[[T], Row]) -> None:
    """Print each row as one line of JSON, as it comes."""
    async for row in rows:
        print_json_line(row_of(row))


def print_rows(rows: Sequence[Row], columns: Mapping[str, str], *, as_json: bool, empty: str) -> None:
    """Print a list.

    Args:
        rows: All that programs get.
        columns: What people see: title → key of the row. On a narrow screen ids go, but for the first column's.
        empty: The sentence for people when there is no row: what to do next.
    """
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        say(empty)
        return
    screen = console()
    table = _table(rows, columns)
    if screen.measure(table, options=screen.options.update(max_width=_PIPE_WIDTH)).maximum > screen.width:
        first, *others = columns.items()
        narrow = dict([first, *((title, key) for title, key in others if not _is_id(rows, key))])
        table = _table(rows, narrow)
    screen.print(table)


def nothing(nouns: str, *, otherwise: str, **filters: object) -> str:
    """Return the sentence for an empty list: what was looked for, or what to do when there was no filter."""
    named = [f"{name} {value}" for name, value in filters.items() if value is not None]
    return f"No {nouns} with {' and '.join(named)}." if named else otherwise


def _table(rows: Sequence[Row], columns: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, (title, key) in enumerate(columns.items()):
        # What comes first names the row, and is copied: it stays whole, the other columns give way.
        width = max(len(cell(row.get(key))) for row in rows) if number == 0 else None
        table.add_column(title, no_wrap=number == 0, min_width=width, overflow="fold")
    for row in rows:
        table.add_row(*[Text(cell(row.get(key))) for key in columns.values()])
    return table


def _is_id(rows: Sequence[Row], key: str) -> bool:
    return any(isinstance(row.get(key), UUID) for row in rows)


def print_fields(fields: Row, *, as_json: bool) -> None:
    """Print one thing: a name and a value a line; for programs an object."""
    if as_json:
        print_json(fields)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in fields.items():
        if value is not None:
            grid.add_row(name.replace("_", " "), Text(_long(value)))
    console().print(grid)


def cell(value: Any) -> str:
    """Return a value as it stands in a table."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return ago(value)
    if isinstance(value, list):
        return shorten(", ".join(str(item) for item in value))
    if isinstance(value, dict):
        return shorten(compact(value))
    return plain(str(value))


def compact(value: Any) -> str:
    """Return JSON on one line."""
    return plain(json.dumps(clean(value)[0], ensure_ascii=False))


def shorten(text: str, chars: int = _SHOWN_CHARS) -> str:
    """Cut a text to one line of at most `chars`."""
    line = " ".join(plain(text).split())
    return line if len(line) <= chars else f"{line[: chars - 1]}…"


def plain(text: str) -> str:
    """Replace what a terminal would obey, and what it cannot print."""
    return _CONTROL.sub("�", text).encode(errors="replace").decode()


def short_id(ask_id: UUID) -> str:
    """Return the end of an id, by which people name an ask: the beginning of a uuid7 is the time."""
    return str(ask_id)[-_SHORT_ID_CHARS:]


def ago(moment: datetime) -> str:
    """Return how long ago, or in how long, a moment is."""
    seconds = (clock.now() - moment).total_seconds()
    span = duration(abs(seconds))
    return f"{span} ago" if seconds >= 0 else f"in {span}"


def duration(seconds: float) -> str:
    """Return a span of time in its largest unit."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size_s, limit_s in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit_s:
            return (
                f"{seconds / size_s:.1f} {unit}"
                if unit == "s" and seconds < 10
                else f"{seconds / size_s:.0f} {unit}"
            )
    return f"{seconds / 86_400:.0f} d"


def byte_size(size_bytes: int) -> str:
    """Return a number of bytes in the unit that fits it."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _long(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone().isoformat(sep=' ', timespec='seconds')} ({ago(value)})"
    if isinstance(value, list) and all(isinstance(item, str | UUID) for item in value):
        return plain(", ".join(map(str, value))) or NOTHING
    if isinstance(value, dict | list) and value:
        return plain(json.dumps(clean(value)[0], indent=2, ensure_ascii=False))
    return cell(value)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
