"""`perron threads storage`: the bytes that threads and tables need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer

from perron.cli.identity import as_uuid
from perron.cli.options import AsJson, Limit
from perron.cli.output import byte_size, print_fields, print_json, print_rows, say
from perron.cli.session import read
from perron.core.platform import Platform
from perron.repositories.storage import TableStorage, ThreadStorage

_PARTS = ("total", "checkpoints", "blobs", "writes", "runs", "events", "calls")


def storage(
    thread: Annotated[str | None, typer.Argument(metavar="[THREAD]", help="Only this thread.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show the bytes that threads need, the largest first, and those of the tables with their indexes.

    It reads all tables, which takes a while on a large database. A thread's bytes are those of its rows, without
    indexes and free space.
    """
    if thread is not None:
        thread_id = as_uuid(thread, "thread")
        one = asdict(read(lambda platform: platform.storage.get_thread(platform.caller, thread_id)))
        print_fields(one if as_json else _shown(one, _PARTS), as_json=as_json)
        return

    async def work(platform: Platform) -> tuple[Sequence[ThreadStorage], Sequence[TableStorage]]:
        threads = await platform.storage.get_threads(platform.caller, limit=limit)
        return threads, await platform.storage.get_tables(platform.caller)

    threads, tables = read(work)
    if as_json:
        print_json({"threads": [asdict(each) for each in threads], "tables": [asdict(each) for each in tables]})
        return
    print_rows(
        [_shown(asdict(each), _PARTS) for each in threads],
        {"thread": "thread_id", **{part: part for part in _PARTS}},
        as_json=False,
        empty="No thread yet: `perron run AGENT --input JSON` makes one.",
    )
    say("")
    sizes = ("data", "indexes", "total")
    rows = [
        {**_shown(asdict(each), sizes), "name": f"{each.schema}.{each.table}", "rows": f"{each.rows:,}"}
        for each in tables
        if each.total
    ]
    every = {key: sum(getattr(each, key) for each in tables) for key in sizes}
    rows.append({**_shown(every, sizes), "name": "all tables"})
    columns = {"table": "name", "rows (estimate)": "rows", **{key: key for key in sizes}}
    print_rows(rows, columns, as_json=False, empty="")


def _shown(row: dict[str, Any], sizes: Sequence[str]) -> dict[str, Any]:
    return {key: byte_size(value) if key in sizes else _plain(value) for key, value in row.items()}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value
