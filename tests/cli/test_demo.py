import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pytest
from tests.cli.conftest import SCRIPT, CommandLine

from perron.cli.demo import desk


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the demo's temporary directory is made; nothing of it may stay, neither files nor processes."""
    for name in [name for name in os.environ if name.startswith("PERRON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PERRON_DATABASE_URL", "postgresql://nowhere.invalid/not_the_demos")
    yield tmp_path
    assert list(tmp_path.glob("perron-demo-*")) == []
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in processes


@pytest.mark.timeout(300)
def test_the_demo_shows_one_refund_here_two_there_and_an_ask(place: Path) -> None:
    done = subprocess.run([SCRIPT, "demo", "--json"], cwd=place, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["requests"]) == 12
    assert sum(row["waited"] for row in report["requests"]) == 1
    assert (report["refunds"]["perron"], report["refunds"]["plain"]) == (1, 2)
    assert report["message"]["sent"] == 1
    assert report["message"]["question"].startswith("Nobody knows whether desk.send_message was done")
    assert report["home"] is None
    assert "Starting PostgreSQL" in done.stderr


@pytest.mark.timeout(300)
def test_a_demo_that_is_stopped_leaves_nothing(place: Path) -> None:
    with subprocess.Popen(
        [SCRIPT, "demo"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in cast("IO[str]", process.stderr):
            if "processes of their own" in line:
                process.send_signal(signal.SIGINT)
        code = process.wait(timeout=120)
        told = cast("IO[str]", process.stdout).read()

    assert code == 130
    assert "12 requests" in told


def test_a_demo_without_the_desk_says_what_to_install(alone: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "entry_points", lambda **_: ())

    done = alone("demo")

    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "pip install 'perron-desk[server]' perron-agent-triage" in done.err
