"""The desk of the demo: the API that the agent calls, as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from perron.cli.demo.place import last_words
from perron.errors import ConfigurationError, PerronError

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0

# By name: the core imports no plugin.
_SERVER = "perron_desk_server.main"
_INSTALL = "install them with `pip install 'perron-desk[server]' perron-agent-triage`"


def check_installed() -> None:
    """Say what is missing for the demo.

    Raises:
        ConfigurationError: The desk or the agent is not installed.
    """
    missing = [
        name
        for name, is_there in (
            ("the desk's plugin (perron-desk)", bool(entry_points(group="perron.plugins", name="desk"))),
            ("the desk's server (perron-desk[server])", all(find_spec(name) for name in ("fastapi", "uvicorn"))),
            ("the agent (perron-agent-triage)", bool(entry_points(group="perron.agents", name="triage"))),
        )
        if not is_there
    ]
    if missing:
        raise ConfigurationError(f"The demo needs {' and '.join(missing)}: {_INSTALL}.")


class Desk:
    """A running desk: its book of effects, and the faults that it can be told to have."""

    def __init__(self, url: str, token: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self.token = token
        self._client = client

    @classmethod
    @asynccontextmanager
    async def start(cls, home: Path) -> AsyncIterator[Desk]:
        """Run a desk as long as the block.

        Raises:
            PerronError: It does not start; its log is in `home`.
        """
        token, log = secrets.token_urlsafe(16), home / "desk.log"
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _SERVER, "--exit-with-parent", "--db", str(home / "desk.sqlite3")),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "DESK_TOKEN": token},  # not an argument: those are there for all to see
                start_new_session=True,  # Ctrl-C in the terminal is for us, who then end it
            )
        try:
            url = await _ready(process, log)
            headers = {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
                yield cls(url, token, client)
        finally:
            await _end(process)

    async def hold_answers(self, path: str, *, times: int) -> None:
        """Let the next requests that fit, as `POST /messages`, have their effect and get no answer for now."""
        await self._request("POST", "/faults", json={"kind": "hold_after", "path": path, "times": times})

    async def held(self, *, wait_s: float) -> list[str]:
        """Return the requests that are held, as `POST /messages`: as soon as there is one, or after `wait_s`."""
        found = await self._request("GET", "/faults/held", params={"wait_s": wait_s})
        requests: list[str] = found["requests"]
        return requests

    async def book(self, kind: str | None = None, subject: str | None = None) -> list[dict[str, Any]]:
        """Return the effects that there have been, oldest first."""
        parameters = {name: value for name, value in (("kind", kind), ("subject", subject)) if value}
        effects: list[dict[str, Any]] = await self._request("GET", "/book", params=parameters)
        return effects

    async def counts(self) -> dict[str, int]:
        """Return how many effects of each kind there have been."""
        counts: dict[str, int] = await self._request("GET", "/book/counts")
        return counts

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        answer = await self._client.request(method, path, **options)
        answer.raise_for_status()
        return answer.json()


async def _ready(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START_TIMEOUT_S)
        return str(json.loads(line)["url"])
    except (TimeoutError, ValueError, KeyError):
        raise PerronError(f"The desk does not start: {last_words(log)}.") from None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()  # its sign to end
    try:
        await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
