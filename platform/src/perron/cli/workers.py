"""`perron workers`: the processes that execute runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perron.cli.group import new_group
from perron.cli.identity import as_uuid
from perron.cli.options import AsJson
from perron.cli.output import print_fields, print_rows, say
from perron.cli.session import read
from perron.models.run import Run
from perron.models.worker import Worker

app = new_group("Workers: the processes that execute runs.")


@app.command("list")
def list_workers(as_json: AsJson = False) -> None:
    """List workers, the latest started first; a dead one's runs are taken over by any other."""
    rows = [
        _row(worker, is_alive)
        for worker, is_alive in read(lambda platform: platform.workers.get_all(platform.caller))
    ]
    print_rows(
        rows,
        {"worker": "worker_id", "state": "state", "host": "host", "pid": "pid", "last beat": "beat_at",
         "started": "started_at", "agents": "agents"},
        as_json=as_json,
        empty="No process executes runs now. `perron worker` does, and so does `perron run` while it lasts.",
    )  # fmt: skip


@app.command()
def show(
    worker: Annotated[str, typer.Argument(help="Its id: see `perron workers list`.")], as_json: AsJson = False
) -> None:
    """Show a worker and the runs that it executes."""
    worker_id = as_uuid(worker, "worker")
    found, is_alive, runs = read(lambda platform: platform.workers.get(platform.caller, worker_id))
    row = _row(found, is_alive)
    executing = [_run(run) for run in runs]
    if as_json:
        print_fields({**row, "runs": executing}, as_json=True)
        return
    print_fields({**row, "agents": ", ".join(found.agents)}, as_json=False)
    say("")
    print_rows(
        executing,
        {"run": "run_id", "thread": "thread_id", "agent": "agent", "attempt": "attempt", "started": "started_at"},
        as_json=False,
        empty="It executes no run now.",
    )


def _row(worker: Worker, is_alive: bool) -> dict[str, Any]:
    return {
        "worker_id": worker.worker_id,
        "state": "alive" if is_alive else "dead",
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "agents": worker.agents,
        "started_at": worker.started_at,
        "beat_at": worker.beat_at,
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "agent": run.graph_id,
        "attempt": run.attempt,
        "started_at": run.started_at,
    }
