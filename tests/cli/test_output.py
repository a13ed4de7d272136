"""Texts of the command line: times, tables, JSON that was given, logs."""

import json
import logging
from datetime import timedelta
from uuid import uuid4

import pytest
import structlog
from pydantic import SecretStr

from perron import clock
from perron.cli.given import read_json
from perron.cli.logs import configure_logs, hide_secrets
from perron.cli.output import ago, cell, duration, plain, print_rows, shorten
from perron.configuration import PlatformSettings
from perron.errors import InvalidInputError


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0421, "42 ms"), (1.23, "1.2 s"), (42, "42 s"), (600, "10 min"), (9000, "2 h"), (400_000, "5 d")],
)
def test_durations_have_one_unit(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_moments_are_told_from_now() -> None:
    assert ago(clock.now() - timedelta(minutes=5)) == "5 min ago"
    assert ago(clock.now() + timedelta(hours=3, seconds=1)) == "in 3 h"


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert plain("\x1b[31mred\x07 \x9b0m\ud800") == "�[31mred� �0m?"
    assert cell({"a": "\x1b"}) == '{"a": "\\u001b"}'
    assert shorten("a\nb" * 100, 10) == "a ba ba b…"


@pytest.mark.parametrize(("columns", "is_wide"), [("60", False), ("200", True)])
def test_ids_are_whole_or_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str, *, is_wide: bool
) -> None:
    run_id, thread_id = uuid4(), uuid4()
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    row = {"run": run_id, "text": "long " * 5, "thread": thread_id}

    print_rows([row], {"run": "run", "text": "text", "thread": "thread"}, as_json=False, empty="")

    out = capsys.readouterr().out
    assert str(run_id) in out
    assert (str(thread_id) in out) is is_wide
    assert ("thread" in out) is is_wide


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"text": "[red]x[/red] :smile:"}], {"text": "text"}, as_json=False, empty="")

    assert "[red]x[/red] :smile:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{'a': 1}", "Expecting property name enclosed in double quotes at line 1, column 2"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5_000, "cannot be read as JSON"),
        ("@/dev/null/x", "cannot be read"),
    ],
)
def test_what_is_no_json_is_refused_with_the_place(given: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_json(given, option="input")

    assert said in refused.value.message


def test_secrets_are_masked_in_logs() -> None:
    event = {
        "event": "connected to postgresql://ann:canary@db/x",
        "token": "canary",
        "nested": {"api_key": "canary", "items": [SecretStr("canary")]},
        "name": "kept",
    }

    hidden = hide_secrets(None, "info", event)

    assert "canary" not in repr(hidden)
    assert hidden["name"] == "kept"


def test_both_kinds_of_loggers_write_json_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logs(PlatformSettings(log_json=True))
        structlog.get_logger("perron.test").warning("ours", password="canary", run_id="r1")
        logging.getLogger("somebody").warning("theirs %s", "formatted")
        logging.getLogger("httpx").info("chatter")
    finally:
        root.handlers[:], root.level = before

    err = capsys.readouterr().err
    ours, theirs = [json.loads(line) for line in err.splitlines()]
    assert (ours["event"], ours["run_id"], ours["level"]) == ("ours", "r1", "warning")
    assert theirs["event"] == "theirs formatted"
    assert "canary" not in err


def test_a_traceback_on_a_terminal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logs(PlatformSettings(log_json=False))
        try:
            raise ValueError("boom")
        except ValueError as exc:
            structlog.get_logger("perron.test").warning("run_failed", exc_info=exc)
    finally:
        root.handlers[:], root.level = before

    err = capsys.readouterr().err
    assert "ValueError: boom (test_output.py, line" in err
    assert "Traceback" not in err
