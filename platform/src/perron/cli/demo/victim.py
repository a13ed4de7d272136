"""Processes that the demo starts in order to kill them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from perron.cli.demo.inbox import Letter
from perron.cli.demo.place import last_words
from perron.errors import PerronError


class Victim:
    """A running process; its output goes to a log."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log

    @property
    def has_ended(self) -> bool:
        """It has ended by itself."""
        return self._process.returncode is not None

    async def kill(self) -> None:
        """End it with SIGKILL, as an out-of-memory killer would, and wait until it is gone."""
        if not self.has_ended:
            self._process.kill()
        await self._process.wait()

    async def finish(self, timeout_s: float) -> None:
        """Wait until it has done its work.

        Raises:
            PerronError: It failed, or takes longer.
        """
        try:
            code = await asyncio.wait_for(self._process.wait(), timeout_s)
        except TimeoutError:
            raise PerronError(f"The process {self.pid} does not end.") from None
        if code != 0:
            raise self.failure()

    def failure(self) -> PerronError:
        """Return what its log says last."""
        return PerronError(f"The process {self.pid} ended early: {last_words(self._log)}")


@asynccontextmanager
async def perron_run(letter: Letter, thread_id: UUID, *, log: Path) -> AsyncIterator[Victim]:
    """Start `perron run triage` in a process of its own; it is gone at the end of the block."""
    script = Path(sysconfig.get_path("scripts")) / "perron"
    thread = ("--thread", str(thread_id), "--if-not-exists", "create")
    arguments = ("run", "triage", *thread, "--input", json.dumps(letter.as_input))
    async with _started((str(script), *arguments), log=log) as victim:
        yield victim


@asynccontextmanager
async def plain_run(what: str, *, variables: Mapping[str, str], log: Path) -> AsyncIterator[Victim]:
    """Start the same on plain LangGraph (`perron.cli.demo.plain`): `start` or `resume`."""
    command = (sys.executable, "-m", "perron.cli.demo.plain", what)
    async with _started(command, log=log, variables=variables) as victim:
        yield victim


@asynccontextmanager
async def _started(
    command: tuple[str, ...], *, log: Path, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Victim]:
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(variables or {})},
            start_new_session=True,  # Ctrl-C in the terminal is for us
        )
    victim = Victim(process, log)
    try:
        yield victim
    finally:
        await victim.kill()
