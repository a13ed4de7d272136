"""`perron` processes as tests hold them; `cradle.py` starts them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class PerronProcess:
    """A `perron` process from the cradle, with what asyncio's `Process` has."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the signal that killed it, or None while it lives."""
        return int(self._status.result()) if self._status.done() else None

    def ended_with(self, status: int) -> None:
        self._status.set_result(status)

    async def wait(self) -> int:
        """Wait for its end and return its exit code."""
        return int(await asyncio.shield(self._status))

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Cradle:
    """Starts processes, and hears of their ends."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._started: asyncio.Queue[PerronProcess] = asyncio.Queue()
        self._living: dict[int, PerronProcess] = {}
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Cradle]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.cradle"),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        cradle = cls(process)
        reading = asyncio.create_task(cradle._read())
        try:
            yield cradle
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            await reading

    async def start(
        self, *arguments: str, environment: Mapping[str, str], log: Path, clock_ahead_s: float = 0
    ) -> PerronProcess:
        """Start `perron` with these arguments; its output goes into `log`."""
        request = {
            "arguments": arguments,
            "environment": dict(environment),
            "log": str(log),
            "clock_ahead_s": clock_ahead_s,
        }
        async with self._one_at_a_time:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            return await self._started.get()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "status" in said:
                self._living.pop(said["pid"]).ended_with(said["status"])
            else:
                self._living[said["pid"]] = born = PerronProcess(said["pid"])
                self._started.put_nowait(born)
