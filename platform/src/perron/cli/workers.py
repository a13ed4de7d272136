"""`perron workers`: the processes that execute runs."""

from __future__ import annotations

from perron.cli.group import new_group
from perron.cli.options import AsJson
from perron.cli.output import print_rows
from perron.cli.session import read

app = new_group("Workers: the processes that execute runs.")


@app.command("list")
def list_workers(as_json: AsJson = False) -> None:
    """List workers, the latest started first; a dead one's runs are taken over by any other."""
    rows = [
        {
            "worker_id": worker.worker_id,
            "state": "alive" if is_alive else "dead",
            "host": worker.host,
            "pid": worker.pid,
            "version": worker.version,
            "agents": worker.agents,
            "started_at": worker.started_at,
            "beat_at": worker.beat_at,
        }
        for worker, is_alive in read(lambda platform: platform.workers.get_all(platform.caller))
    ]
    print_rows(
        rows,
        {"worker": "worker_id", "state": "state", "host": "host", "pid": "pid", "last beat": "beat_at",
         "started": "started_at", "agents": "agents"},
        as_json=as_json,
        empty="No process executes runs now. `perron run` does while it lasts, and so does `Platform.open()`.",
    )  # fmt: skip
