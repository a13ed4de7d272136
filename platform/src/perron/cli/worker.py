"""`perron worker`: a process that executes runs and does nothing else."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from perron.cli.session import execute
from perron.errors import InvalidInputError
from perron.worker.process import work_until_stopped

app = typer.Typer()

_LOOPBACK = "127.0.0.1"


@app.command()
def worker(
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", metavar="N", min=1, help="Runs that are executed at once.")
    ] = None,
    agents: Annotated[
        str | None, typer.Option("--agents", metavar="A,B", help="Execute runs of these agents only.")
    ] = None,
    health: Annotated[
        str | None,
        typer.Option("--health", metavar="[HOST:]PORT", help="Serve /live, /ready and /metrics there."),
    ] = None,
) -> None:
    """Execute runs that others create, until SIGTERM or Ctrl-C; then give back what does not end in time.

    Exit code: 0 stopped, 1 the memory limit was passed (setting worker_memory_mb).
    """
    overrides: dict[str, Any] = {}
    if concurrency is not None:
        overrides["concurrency"] = concurrency
    if agents is not None:
        overrides["worker_agents"] = agents
    address = None if health is None else _address(health)
    execute(partial(work_until_stopped, health=address), **overrides)


def _address(given: str) -> tuple[str, int]:
    host, _, port = given.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise InvalidInputError(f"--health takes a port or HOST:PORT, such as 0.0.0.0:8081, not {given!r}.")
    return host.strip("[]") or _LOOPBACK, int(port)
