"""Commands of plugins, and plugins that fail while the command line wants something of them."""

from pathlib import Path

import pytest
from tests.cli.conftest import Script

GREETER = """
import typer
from perron import hookimpl

@hookimpl
def perron_commands(cli: typer.Typer) -> None:
    @cli.command()
    def greet(name: str) -> None:
        "Greet somebody."
        print(f"Hello, {name}!")
"""
RAISING = """
from perron import hookimpl

@hookimpl
def perron_commands(cli):
    raise RuntimeError("no commands today")
"""
HANGING = """
import time
time.sleep(60)
"""


@pytest.fixture
def installed(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The script beside three installed plugins: one good, one that raises, one that hangs at import."""
    site = tmp_path / "site"
    info = site / "greeters-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeters\nVersion: 1.0\n")
    names = {"greeter": GREETER, "raising": RAISING, "hanging": HANGING}
    (info / "entry_points.txt").write_text("[perron.plugins]\n" + "".join(f"{name} = {name}\n" for name in names))
    for name, source in names.items():
        (site / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PERRON_PLUGINS", "greeters")
    monkeypatch.setenv("PERRON_PLUGIN_TIMEOUT_S", "3")
    return script


def test_a_plugin_adds_a_command_though_others_fail(installed: Script) -> None:
    done = installed("greet", "Ann")

    assert done.code == 0
    assert done.out == "Hello, Ann!\n"
    assert "no commands today" in done.err
    assert "Traceback" not in done.err


def test_plugins_that_raise_or_hang_are_listed_with_the_reason(installed: Script) -> None:
    rows = {row["name"]: row for row in installed("plugins", "list", "--json").json}

    assert rows["greeter"]["state"] == "loaded"
    assert rows["hanging"]["state"] == "failed"
    assert "within 3 s" in rows["hanging"]["error"]


def test_commands_of_plugins_are_listed(installed: Script) -> None:
    rows = installed("plugins", "commands", "--json").json

    assert rows == [{"command": "perron greet", "help": "Greet somebody."}]
