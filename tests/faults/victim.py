"""Processes to be killed: forks of one that has imported everything, which takes seconds.

`python -m tests.faults.victim SOCKET` serves on a Unix socket. Each connection is a new process: it reads what it
is to do as one line of JSON, says its pid, does it, and says what came of it. A connection that ends without
saying is a process that was killed.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
from socketserver import ForkingMixIn, StreamRequestHandler, UnixStreamServer
from typing import Any
from uuid import UUID

from tests.faults.graphs import ACT
from tests.faults.shapes import SHAPES

from perron import Platform, RunResult, failpoints
from perron.cli.logs import configure_logs
from perron.configuration import load_settings
from perron.services.answer import Answer


class Nursery(ForkingMixIn, UnixStreamServer):
    """Forks a process for each connection, and ends with the process that started it."""

    def __init__(self, path: str) -> None:
        super().__init__(path, Victim)
        self._parent = os.getppid()

    def service_actions(self) -> None:
        """Look around, twice a second."""
        super().service_actions()
        if os.getppid() != self._parent:
            raise SystemExit


class Victim(StreamRequestHandler):
    """One process."""

    def handle(self) -> None:
        """Do what the request says, and say what came of it."""
        request = json.loads(self.rfile.readline())
        with open(request["log"], "ab") as log:  # noqa: PTH123  # dup2 wants a descriptor
            os.dup2(log.fileno(), sys.stderr.fileno())
        os.environ.update(request["environment"])
        importlib.reload(failpoints)  # it reads the environment at import
        configure_logs(load_settings())
        self._say({"pid": os.getpid()})
        try:
            self._say({"result": asyncio.run(perform(request))})
        except Exception as exc:
            self._say({"failure": f"{type(exc).__name__}: {exc}"})
            raise

    def _say(self, line: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(line, default=str).encode() + b"\n")


async def perform(request: dict[str, Any]) -> dict[str, Any]:
    """Run an agent, wait for a run that another process has begun, answer what one waits for, or connect."""
    agents = [agent for agent in (ACT, *SHAPES) if agent.name == request["agent"]]
    async with Platform.open(agents=agents) as platform:
        if "credentials" in request:
            connection = await platform.connections.add(platform.caller, "desk", request["credentials"])
            return {"account": connection.account_id}
        if "options" in request:
            run = await platform.run(
                request["agent"],
                thread_id=request["thread_id"],
                if_not_exists="create",
                **request["options"],
            )
        elif "answers" in request:
            answers = {UUID(ask): Answer(**answer) for ask, answer in request["answers"].items()}
            run = await platform.resume(request["thread_id"], answers)
        else:
            run = await platform.join(request["run_id"])
        return _as_json(run)


def _as_json(run: RunResult) -> dict[str, Any]:
    asks = [
        {"id": ask.id, "kind": ask.kind, "question": ask.question, "args": ask.args, "decisions": ask.decisions}
        for ask in run.waiting
    ]
    return {"status": run.status, "output": run.output, "error": run.error, "asks": asks}


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # what is imported stays shared with all that are forked
    with Nursery(sys.argv[1]) as nursery:
        nursery.serve_forever()
