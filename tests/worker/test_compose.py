"""What docker-compose.yml starts, as plain processes: its commands and environment, on another database."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from tests.conftest import KEY
from tests.worker.hall import PERRON, WorkerProcess, until

from perron_desk_server.process import DeskProcess, start_desk

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
VARIABLE = re.compile(r"\$\{(\w+):[?-][^}]*\}")


class Stack:
    """The services, with a free port for each, since they share this machine."""

    def __init__(self, url: str, directory: Path, desk: DeskProcess, env_file: Mapping[str, str]) -> None:
        config = (ROOT / "config" / "perron.toml").read_text(encoding="utf-8")
        (directory / "perron.toml").write_text(config.replace("http://desk:8080", desk.url), encoding="utf-8")
        self._env_file = env_file
        self._here = {"PERRON_DATABASE_URL": url, "PERRON_CONFIG": str(directory / "perron.toml")}
        self._directory = directory
        self.workers: list[WorkerProcess] = []

    async def start_worker(self) -> WorkerProcess:
        command = [
            "--health=0" if word.startswith("--health=") else word for word in SERVICES["worker"]["command"]
        ]
        log = self._directory / f"{len(self.workers)}.log"
        with log.open("wb") as err:
            process = await self._start("worker", *command, stderr=err)
        worker = WorkerProcess(process, log)
        self.workers.append(worker)
        await until(worker.is_ready)
        return worker

    async def run(self, service: str, *command: str) -> tuple[int, str]:
        """Run to the end; return the exit code and what was printed."""
        pipe = asyncio.subprocess.PIPE
        process = await self._start(service, *(command or SERVICES[service]["command"]), stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode() or err.decode()

    async def _start(self, service: str, *command: str, **streams: Any) -> asyncio.subprocess.Process:
        given = {name: self._filled(value) for name, value in SERVICES[service]["environment"].items()}
        machine = {name: value for name, value in os.environ.items() if not name.startswith("PERRON_")}
        environment = {**machine, **self._env_file, **given, **self._here, "PERRON_LOG_JSON": "true"}
        return await asyncio.create_subprocess_exec(
            PERRON, *command, env=environment, cwd=self._directory, stdin=asyncio.subprocess.DEVNULL, **streams
        )

    def _filled(self, value: str) -> str:
        return VARIABLE.sub(lambda found: self._env_file.get(found[1], ""), value)


@pytest.fixture
async def stack(empty_database: str, tmp_path: Path) -> AsyncIterator[Stack]:
    filled = {"POSTGRES_PASSWORD": "secret", "PERRON_KEY": KEY}
    env_file = {k: v or filled[k] for k, v in dotenv_values(ROOT / "config" / "compose.env.example").items()}
    with start_desk(tmp_path / "desk.sqlite3", token=env_file["DESK_TOKEN"]) as desk:
        stack = Stack(empty_database, tmp_path, desk, env_file)
        try:
            yield stack
        finally:
            for worker in stack.workers:
                if worker.process.returncode is None:
                    worker.process.kill()
                    await worker.process.wait()


async def test_the_services_work_together_and_stop_when_they_are_told_to(stack: Stack) -> None:
    code, said = await stack.run("upgrade")
    assert code == 0, said
    first, second = await asyncio.gather(stack.start_worker(), stack.start_worker())

    given = '{"text": "My card was stolen"}'
    ran, looked, listed = await asyncio.gather(
        stack.run("perron", "run", "triage", "--input", given, "--json"),
        stack.run("perron"),
        stack.run("perron", "workers", "list", "--json"),
    )
    assert ran[0] == 0, ran[1]
    assert json.loads(ran[1])["status"] == "success"
    assert looked[0] == 0, looked[1]
    assert [worker["state"] for worker in json.loads(listed[1])].count("alive") >= 2

    probe = SERVICES["worker"]["healthcheck"]["test"]
    port = (await first.get("/ready")).url.port
    healthy = await asyncio.create_subprocess_exec(
        sys.executable, *probe[2:-1], re.sub(r":\d+/", f":{port}/", probe[-1])
    )
    assert await healthy.wait() == 0
    for worker in (first, second):
        worker.process.send_signal(signal.SIGTERM)
    assert (await first.ended(), await second.ended()) == (0, 0)
