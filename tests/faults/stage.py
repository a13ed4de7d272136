"""A stage: a database and a desk of one test's own, and the processes that play on it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import DictRow, dict_row

from perron_desk_server.process import DeskProcess

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
TOKEN = "desk-canary-5b1f93"
"""The desks'. A canary: no dump and no log may hold it."""
DEADLINE_S = 60.0


async def until(condition: Callable[[], Awaitable[bool]], *, what: str, look_s: float = 0.05) -> None:
    """Wait for something that only looking can tell."""
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not: {what}")
        await asyncio.sleep(look_s)


class Process:
    """A process that runs a platform; see `victim.py`."""

    def __init__(self, pid: int, said: asyncio.StreamReader, told: asyncio.StreamWriter, log: Path) -> None:
        self.pid = pid
        self._said = said
        self._told = told
        self.log = log

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def died(self) -> None:
        """Wait until it is gone without a word."""
        line = await self._read()
        assert not line, f"it was not killed, and said {line.decode()}"

    async def has_died(self) -> bool:
        """Wait until it has ended, and say whether it was killed."""
        return not await self._read()

    async def frozen(self) -> None:
        """Wait until it has stopped at a fail point."""

        async def is_stopped() -> bool:
            ps = await asyncio.create_subprocess_exec(
                "ps", "-o", "state=", "-p", str(self.pid), stdout=asyncio.subprocess.PIPE
            )
            state, _ = await ps.communicate()
            return state.strip().startswith(b"T")

        await until(is_stopped, what=f"process {self.pid} is frozen", look_s=0.2)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def result(self) -> dict[str, Any]:
        """Return what it has to say at its end."""
        said = await self._last_words()
        assert "result" in said, said
        result: dict[str, Any] = said["result"]
        return result

    async def failure(self) -> str:
        """Return the error that it ends with."""
        return str((await self._last_words())["failure"])

    async def _last_words(self) -> dict[str, Any]:
        line = await self._read()
        assert line, f"it was killed:\n{self.log.read_text()[-2000:]}"
        said: dict[str, Any] = json.loads(line)
        return said

    async def _read(self) -> bytes:
        try:
            return await asyncio.wait_for(self._said.readline(), DEADLINE_S)
        except TimeoutError:
            raise AssertionError(f"it goes on and on:\n{self.log.read_text()[-4000:]}") from None
        except ConnectionError:
            return b""

    def close(self) -> None:
        """End it, if it has not ended."""
        self._told.close()
        if not self._said.at_eof():
            for sign in (signal.SIGKILL, signal.SIGCONT):
                try:
                    os.kill(self.pid, sign)
                except ProcessLookupError:
                    return


class Stage:
    """One thread in a database, and a desk that nobody else uses meanwhile."""

    def __init__(self, url: str, desk: DeskProcess, nursery: Path, directory: Path) -> None:
        self.url = url
        self.desk = desk.aio
        self.thread_id = uuid4()
        self._desk = desk
        self._nursery = nursery
        self._directory = directory
        self._agent = ""
        """What the thread runs. Processes have no other agent: registering one takes its time."""
        self._processes: list[Process] = []

    async def run(
        self,
        agent: str,
        input: Any = None,  # the SDK's word
        *,
        failpoints: str = "",
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Process:
        """Start a process that runs an agent on the thread."""
        self._agent = agent
        return await self._start({"options": {"input": input, **options}}, failpoints, environment)

    async def connect(self, credentials: str) -> Process:
        """Start a process that adds a connection to the desk."""
        return await self._start({"credentials": credentials}, "", {"PERRON_CONNECTION_DESK": ""})

    async def successor(self, *, failpoints: str = "", environment: Mapping[str, str] | None = None) -> Process:
        """Start a process that waits for the thread's newest run, and takes it over."""
        return await self._start({"run_id": str(await self.run_id())}, failpoints, environment)

    async def answering(self, answers: Mapping[str, Mapping[str, Any]], *, failpoints: str = "") -> Process:
        """Start a process that answers asks, by id, and runs the thread on."""
        return await self._start({"answers": dict(answers)}, failpoints)

    async def resume(self) -> dict[str, Any]:
        """Let another process finish what a dead one has left."""
        return await (await self.successor()).result()

    async def answer(self, ask: Mapping[str, Any], decision: str, value: Any = None) -> dict[str, Any]:
        """Answer an ask in another process, and return what came of it."""
        return await (await self.answering({ask["id"]: {"decision": decision, "value": value}})).result()

    async def run_id(self) -> UUID:
        """Return the thread's newest run."""
        rows = await self.sql("SELECT run_id FROM perron.runs ORDER BY seq DESC LIMIT 1")
        run_id: UUID = rows[0]["run_id"]
        return run_id

    async def lease_is_out(self) -> None:
        """Wait until all workers count as dead."""

        async def is_out() -> bool:
            beat = "beat_at > clock_timestamp() - make_interval(secs => lease_s)"
            return not await self.sql(f"SELECT FROM perron.workers WHERE {beat}")

        await until(is_out, what="the lease is out")

    async def counts(self) -> dict[str, int]:
        """Return how often the desk did something, without what it never did."""
        return {kind: count for kind, count in (await self.desk.counts()).items() if count}

    async def sql(self, statement: str, *arguments: object) -> list[DictRow]:
        """Run a statement past all of Perron, and return its rows."""
        async with await psycopg.AsyncConnection.connect(
            self.url, autocommit=True, row_factory=dict_row
        ) as connection:
            cursor = await connection.execute(statement, arguments or None)
            return await cursor.fetchall() if cursor.description else []

    async def dump(self) -> str:
        """Return everything that the database holds, as text; binary columns in hex."""
        tables = await self.sql(
            "SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname IN ('perron', 'langgraph')"
        )
        lines = []
        for table in tables:
            lines += [row["t"] for row in await self.sql(f"SELECT t::text FROM {table['name']} AS t")]
        return "\n".join(lines)

    def logs(self) -> str:
        """Return what all processes of this stage have logged, at debug level."""
        return "\n".join(process.log.read_text(encoding="utf-8") for process in self._processes)

    async def close(self) -> None:
        for process in self._processes:
            process.close()
        await self.desk.disarm()
        await self.desk.release()

    async def _start(
        self, request: dict[str, Any], failpoints: str, environment: Mapping[str, str] | None = None
    ) -> Process:
        log = self._directory / f"{self.thread_id}-{len(self._processes)}.log"
        variables = {
            "PERRON_DATABASE_URL": self.url,
            "PERRON_KEY": KEY,
            "PERRON_HOME": str(self._directory),
            "PERRON_PLUGINS": "desk",
            "PERRON_PLUGINS_DENY": "triage,chat",
            "PERRON_LEASE_S": "1",
            "PERRON_POLL_S": "0.1",
            "PERRON_POOL_SIZE": "2",
            "PERRON_DRAIN_S": "2",
            "PERRON_LOG_LEVEL": "debug",
            "PERRON_LOG_JSON": "true",
            "PERRON_INTEGRATION_DESK__BASE_URL": self._desk.url,
            "PERRON_CONNECTION_DESK": self._desk.token,
            "PERRON_FAILPOINTS": failpoints,
            **(environment or {}),
        }
        said, told = await asyncio.open_unix_connection(str(self._nursery))
        what = {"thread_id": str(self.thread_id), "agent": self._agent}
        request = {**what, "environment": variables, "log": str(log), **request}
        told.write(json.dumps(request).encode() + b"\n")
        pid = json.loads(await asyncio.wait_for(said.readline(), DEADLINE_S))["pid"]
        process = Process(pid, said, told, log)
        self._processes.append(process)
        return process
