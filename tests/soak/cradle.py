"""The cradle: forks `perron` processes from one that has imported everything, which saves each of them 3 s.

Talks in lines of JSON. In: {"arguments", "environment", "log", "clock_ahead_s"} starts `perron ARGUMENTS`. Out:
{"pid"} as soon as it is started, {"pid", "status"} when it has ended. When its stdin ends, it kills all of them.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import sys
import time
from datetime import timedelta
from typing import Any

from tests.soak import graphs as graphs

from perron import clock, failpoints
from perron.cli import worker as worker
from perron.cli.main import main

_LOOK_S = 0.02


def _serve() -> None:
    living: set[int] = set()
    requests = selectors.DefaultSelector()
    requests.register(sys.stdin.buffer, selectors.EVENT_READ)
    rest = b""
    while True:
        if requests.select(_LOOK_S):
            read = os.read(sys.stdin.fileno(), 65536)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    _live(json.loads(line))
                living.add(pid)
                _say({"pid": pid})
        while living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            living.discard(pid)
            _say({"pid": pid, "status": os.waitstatus_to_exitcode(status)})
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _live(request: dict[str, Any]) -> None:
    code = 1
    try:
        with open(request["log"], "ab") as log, open(os.devnull, "rb") as nothing:  # noqa: PTH123  # for dup2
            os.dup2(nothing.fileno(), sys.stdin.fileno())
            for stream in (sys.stdout, sys.stderr):
                os.dup2(log.fileno(), stream.fileno())
        os.environ.update(request["environment"])
        importlib.reload(failpoints)  # it reads the environment at import
        if request["clock_ahead_s"]:
            _put_ahead(request["clock_ahead_s"])
        code = main(request["arguments"])
    finally:
        os._exit(code)


def _put_ahead(seconds: float) -> None:
    """Move the time of day of this process: LangGraph's checkpoint ids, our stamps and ids. Leases use another."""
    time_ns, now = time.time_ns, clock.now
    time.time_ns = lambda: time_ns() + int(seconds * 1e9)
    clock.now = lambda: now() + timedelta(seconds=seconds)


def _say(line: dict[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # what is imported stays shared with all that are forked
    _serve()
