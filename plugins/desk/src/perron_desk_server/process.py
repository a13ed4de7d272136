"""A desk as a child process."""

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from perron_desk_server.control import DeskControl
from perron_desk_server.defaults import DEFAULT_TOKEN
from perron_desk_server.errors import DeskStartError


class DeskProcess(DeskControl):
    """A running desk and its levers. As a context manager, also an async one, it ends the desk."""

    def __init__(self, process: subprocess.Popen[bytes], *, url: str, db: Path, token: str) -> None:
        super().__init__(url, token=token)
        self.db = db
        self._process = process

    async def __aenter__(self) -> "DeskProcess":
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    @property
    def pid(self) -> int:
        """The desk's process id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The TCP port; give it to `start_desk` to start again in the same place."""
        return int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """End the desk with SIGKILL and wait until it is gone."""
        self._process.kill()
        self.close()

    def wait(self, *, timeout_s: float) -> int:
        """Wait until the desk has ended; its exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: It still runs after this time.
        """
        return self._process.wait(timeout=timeout_s)

    def close(self) -> None:
        """End the desk: the end of its stdin is its sign, SIGKILL after 5 s."""
        super().close()
        _end(self._process)


def start_desk(
    db: Path, *, token: str = DEFAULT_TOKEN, port: int = 0, timeout_s: float = 30.0, log: Path | None = None
) -> DeskProcess:
    """Start `perron-desk-server` on 127.0.0.1 and wait until it is ready. It never outlives this process.

    Args:
        db: The SQLite file; made if there is none, gone on with if there is.
        token: What clients have to send as bearer token.
        port: 0 takes a free one.
        timeout_s: How long to wait for it.
        log: Where its stderr goes; by default beside the file, with the suffix `.log`.

    Raises:
        DeskStartError: It ended instead, or was not ready in time.
    """
    log = log or db.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stderr:
        command = [sys.executable, "-m", "perron_desk_server.main", "--exit-with-parent"]
        process = subprocess.Popen(
            [*command, "--port", str(port), "--db", str(db)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            # The environment and not `--token`: others may read a process's arguments.
            env={**os.environ, "DESK_TOKEN": token},
            start_new_session=True,  # Ctrl-C in the terminal is for us, who then end it
        )
    line = _read_line(cast("IO[bytes]", process.stdout), timeout_s=timeout_s)
    if not line.endswith(b"\n"):
        _end(process)
        raise DeskStartError(log)
    ready = json.loads(line)
    return DeskProcess(process, url=ready["url"], db=Path(ready["db"]), token=token)


def _read_line(stdout: IO[bytes], *, timeout_s: float) -> bytes:
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(stdout.fileno(), 4096) if readable else b""
        if not chunk:
            break
        line += chunk
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(timeout=5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
