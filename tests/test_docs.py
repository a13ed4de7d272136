"""What the docs say, held against the code: examples run as printed; commands, links, files and names exist."""

import ast
import json
import logging
import re
import shlex
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer

import perron
from perron.cli.commands import COMMANDS
from perron.cli.main import app, main
from perron.configuration import PlatformSettings
from perron_desk_server.process import DeskProcess, start_desk

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "platform" / "src" / "perron"
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    + [page for floor in ("platform", "plugins/*", "agents/*") for page in ROOT.glob(f"{floor}/README.md")]
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what stands behind that, and its text."""

    language: str
    title: str
    text: str


@cache
def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w*) ?(.*?)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*parts) for parts in found]


# The README's examples, in a directory of the test's own.


@dataclass(frozen=True)
class Folder:
    """An empty folder into which the README's files are written, and where its commands are run."""

    path: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, title: str, *, which: int = 0) -> None:
        """Write the block of a file; a later one of the same name goes to its end."""
        found = [block for block in blocks(ROOT / "README.md") if block.title == title]
        with (self.path / title).open("a", encoding="utf-8") as file:
            file.write(found[which].text)

    def play(self, title: str) -> None:
        """Run the commands of the blocks of this title and compare what they print with what is printed there."""
        texts = [b.text for b in blocks(ROOT / "README.md") if (b.language, b.title) == ("console", title)]
        real: dict[str, str] = {}
        for command, expected in re.findall(r"^\$ perron (.*)\n((?:(?!\$ ).*\n)*)", "".join(texts), re.MULTILINE):
            printed = self._run([real.get(word, word) for word in shlex.split(command)])
            assert _plain(printed) == _plain(expected), f"`perron {command}` prints:\n{printed}"
            real |= dict(zip(_IDS.findall(expected), _IDS.findall(printed), strict=True))

    def _run(self, arguments: list[str]) -> str:
        self.capsys.readouterr()
        # In a thread: asyncio.run would take this one's loop from the tests that have it.
        thread = threading.Thread(target=main, args=(arguments,))
        thread.start()
        thread.join()
        out, err = self.capsys.readouterr()
        assert "Error" not in err, err
        return out


_IDS = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8}\b")
_TIMES = re.compile(r"\d+(?:\.\d+)? m?s \(\d+/s\)")
_PORTS = re.compile(r"(?<=http://127\.0\.0\.1:)\d+")


def _plain(text: str) -> list[str]:
    """Return the lines without what differs from run to run: ids, times and ports."""
    return [_PORTS.sub("PORT", _TIMES.sub("TIME", _IDS.sub("ID", line))).rstrip() for line in text.splitlines()]


@pytest.fixture
def folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> Iterator[Folder]:
    for name in ("PERRON_KEY_FILE", "PERRON_CONFIG", "PERRON_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PERRON_DATABASE_URL", database_url)
    monkeypatch.setenv("PERRON_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield Folder(tmp_path, capsys)
    root.handlers[:], root.level = before


def test_the_first_agent_runs_as_printed(folder: Folder) -> None:
    for name in ("refunds.py", "langgraph.json", "orders.csv"):
        folder.write(name)

    folder.play("first agent")

    results = [json.loads(line) for line in (folder.path / "results.jsonl").read_text().splitlines()]
    assert {row["output"]["decision"] for row in results} == {"refund 12.00", "refund 49.00", "refund 25.00"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[DeskProcess]:
    process = start_desk(tmp_path / "desk.sqlite3")
    try:
        yield process
    finally:
        process.close()


def test_the_first_plugin_runs_as_printed(
    folder: Folder, desk: DeskProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("refunds.py")
    folder.write("refunds.py", which=1)
    for name in ("langgraph.json", "letters.py", "pyproject.toml"):
        folder.write(name)
    install(folder.path)
    monkeypatch.syspath_prepend(folder.path)
    monkeypatch.setenv("DESK_TOKEN", desk.token)
    monkeypatch.setenv("PERRON_INTEGRATION_LETTERS__BASE_URL", desk.url)
    try:
        folder.play("first plugin")
    finally:
        sys.modules.pop("letters", None)

    assert desk.counts()["message"] == 1


def install(directory: Path) -> None:
    """Write the metadata that pip makes of the directory's pyproject.toml when it installs it in place."""
    project = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
    info = directory / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("name", ["refunds.py", "letters.py"])
def test_the_first_examples_are_short(name: str) -> None:
    first = next(block for block in blocks(ROOT / "README.md") if block.title == name)

    assert sum(bool(line.strip()) for line in first.text.splitlines()) <= 25


# Commands.


def commands(page: Path) -> list[list[str]]:
    """Return the commands of a page's blocks, and those of `perron` in its text, as words."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "sh":
            lines += block.text.splitlines()
        if block.language == "console":
            lines += [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`(perron [a-z-][^`]*)`", prose)
    split = (shlex.split(line, comments=True) for line in lines)
    return [words for words in split if words]


def what_is_wrong(words: list[str]) -> str:
    """Return why a command cannot be given, or nothing."""
    for prefix in (["docker", "compose", "run", "--rm"], ["uv", "run"]):
        if words[: len(prefix)] == prefix:
            words = words[len(prefix) :]
    match words:
        case ["perron", *rest]:
            return _wrong_of_perron(rest)
        case ["python", script, *_]:
            return "" if (ROOT / script).is_file() else f"no file {script}"
        case ["make", target, *_]:
            is_there = re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            return "" if is_there else f"no target {target}"
        case [name, *_]:
            scripts = {point.name for point in entry_points(group="console_scripts")}
            tools = {"cd", "cp", "docker", "export", "git", "source", "uv"}
            return "" if name in scripts | tools else f"no command {name}"
    return "nothing"


def _wrong_of_perron(words: list[str]) -> str:
    """Follow the words through groups to a command, and look for each option among its parameters."""
    command: Any = typer.main.get_command(app)
    is_top = True
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            options = {name: parameter for parameter in command.params for name in parameter.opts}
            if word not in {*options, "--help"}:
                return f"{command.name} has no option {word}"
            if not getattr(options.get(word), "is_flag", True):
                next(rest, None)
        elif word.isupper():
            break  # whatever the reader puts there
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return f"no command {word}"
            command = (
                typer.main.get_command(import_module(COMMANDS[word][0]).app) if is_top else command.commands[word]
            )
            is_top = False
    return ""


@each_page
def test_every_command_exists(page: Path) -> None:
    wrong = {shlex.join(words): problem for words in commands(page) if (problem := what_is_wrong(words))}

    assert not wrong


@pytest.mark.parametrize(
    "line",
    ["perron fly", "perron runs fly", "perron run triage --fast", "make coffee", "python bench/none.py", "purron"],
)
def test_a_command_that_does_not_exist_is_found_out(line: str) -> None:
    assert what_is_wrong(shlex.split(line))


# Links, files and names.


@each_page
def test_every_relative_link_resolves(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]

    broken = [link for link in links if not _resolves(page, link)]

    assert not broken


def _resolves(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
    return not anchor or anchor in {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name != "decisions"],  # those may tell of what is no more
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_every_file_and_every_place_in_one_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:[\w-]+/)+[\w-]+\.py|[\w]+\.py::[\w.]+|(?:[\w-]+/)+[\w-]+\.py::[\w.]+)`", page.read_text()
    )

    missing = [name for name in named if not _is_there(name)]

    assert not missing


def _is_there(name: str) -> bool:
    path, _, place = name.partition("::")
    file = next((base / path for base in (SOURCE, ROOT) if (base / path).is_file()), None)
    if file is None:
        return False
    nodes: list[Any] = ast.parse(file.read_text(encoding="utf-8")).body
    for part in filter(None, place.split(".")):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = next((node for node in nodes if isinstance(node, kinds) and node.name == part), None)
        if found is None:
            return False
        nodes = found.body
    return True


@each_page
def test_every_variable_is_read_by_somebody(page: Path) -> None:
    fields = {f"PERRON_{name.upper()}" for name in PlatformSettings.model_fields}
    others = {"PERRON_CONFIG", "PERRON_TEST_DATABASE_URL", "PERRON_FAILPOINTS"}
    prefixes = ("PERRON_CONNECTION_", "PERRON_AGENT_", "PERRON_INTEGRATION_")

    named = set(re.findall(r"PERRON_[A-Z_]+[A-Z]", page.read_text(encoding="utf-8")))

    assert not {name for name in named - fields - others if not name.startswith(prefixes)}


@each_page
def test_every_example_is_well_formed(page: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json":
            json.loads(block.text)
        for node in ast.walk(ast.parse(block.text)) if block.language == "python" else ():
            if isinstance(node, ast.ImportFrom) and node.module == "perron":
                assert {alias.name for alias in node.names} <= set(perron.__all__)
