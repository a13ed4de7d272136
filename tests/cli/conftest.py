"""The command line as its users have it, in a directory of the test's own.

`cli` runs it in this process, in a thread, and is fast; `script` runs the installed script as a process.
"""

import io
import json
import logging
import os
import subprocess
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from perron.cli.main import main

SCRIPT = Path(sysconfig.get_path("scripts")) / ("perron.exe" if sys.platform == "win32" else "perron")
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
GRAPHS = ("echo", "failing", "asking", "asking_twice", "approving", "waiting", "blocking", "two_steps", "talk")


@dataclass(frozen=True)
class Done:
    """How a command came out."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """Runs the command line in this process."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, directory: Path
    ) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.directory = directory

    def __call__(self, *arguments: str, given: bytes = b"") -> Done:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        codes: list[int] = []

        def run() -> None:
            try:
                codes.append(main(arguments))
            except SystemExit as exc:
                codes.append(int(exc.code or 0))

        # In a thread: asyncio.run would take this one's loop from the tests that have it.
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Done(codes[0], out, err)

    def set(self, name: str, value: str) -> None:
        """Set an environment variable for the commands to come."""
        self._monkeypatch.setenv(name, value)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a langgraph.json with the graphs of these tests, and no other plugin or agent."""
    graphs = {name: f"{Path(__file__).parent}/graphs.py:{name}" for name in GRAPHS}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    for name in os.environ:
        if name.startswith(("PERRON_", "LANGSMITH_", "LANGCHAIN_", "OPENAI_", "ANTHROPIC_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PERRON_PLUGINS", "none")
    monkeypatch.setenv("PERRON_PLUGINS_DENY", "triage,chat")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def alone(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """The command line without a database."""
    root = logging.getLogger()
    handlers, level, showwarning = root.handlers[:], root.level, warnings.showwarning
    yield CommandLine(capsys, monkeypatch, directory)
    root.handlers[:], root.level, warnings.showwarning = handlers, level, showwarning
    structlog.reset_defaults()


@pytest.fixture
def cli(alone: CommandLine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line on an upgraded database of this test's own."""
    monkeypatch.setenv("PERRON_DATABASE_URL", database_url)
    monkeypatch.setenv("PERRON_KEY", KEY)
    return alone


@dataclass(frozen=True)
class Script:
    """Runs the installed script."""

    directory: Path

    def __call__(self, *arguments: str, **environment: str) -> Done:
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=120)
        return Done(process.returncode, out.decode(), err.decode())

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [SCRIPT, *arguments],
            cwd=self.directory,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def script(cli: CommandLine) -> Script:
    """The installed script, on the same database and in the same directory as `cli`."""
    return Script(cli.directory)
