"""The frame around all commands: help, errors, exit codes, logs."""

import subprocess
import sys

import pytest
from tests.cli.conftest import CommandLine, Script

TEXT = '{"text": "hello"}'


def test_help_does_not_wait_for_langgraph() -> None:
    code = "import sys; from perron.cli.main import main; main(['--help']); sys.exit('langgraph' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert "Run an agent and show what comes out." in done.stdout


def test_the_version_is_shown(alone: CommandLine) -> None:
    assert alone("--version").out.startswith("perron ")


def test_no_command_shows_help_and_is_bad_usage(alone: CommandLine) -> None:
    done = alone()

    assert done.code == 2
    assert "Commands" in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["agnets", "list"], "Did you mean 'agents'?"),
        (["agents", "lst"], "Did you mean 'list'?"),
        (["--confg", "x", "agents", "list"], "--config"),
        (["runs", "show"], "Missing argument 'RUN'"),
        (["runs", "list", "--limit", "many"], "--limit"),
    ],
)
def test_unknown_names_bring_the_nearest(alone: CommandLine, arguments: list[str], said: str) -> None:
    done = alone(*arguments)

    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_an_unreachable_database_is_one_sentence(alone: CommandLine) -> None:
    alone.set("PERRON_DATABASE_URL", "postgresql://ann:secret@127.0.0.1:1/nothing")
    alone.set("PERRON_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")

    done = alone("runs", "list")

    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "127.0.0.1:1" in done.err
    assert "secret" not in done.err


def test_an_empty_database_names_the_command_to_run(cli: CommandLine, empty_database: str) -> None:
    cli.set("PERRON_DATABASE_URL", empty_database)

    refused = cli("runs", "list")
    upgraded = cli("db", "upgrade")
    checked = cli("db", "check")

    assert refused.code == 1
    assert "run `perron db upgrade`" in refused.err
    assert (upgraded.code, checked.code) == (0, 0)


def test_a_downgrade_is_asked_for_and_can_be_taken_back(cli: CommandLine) -> None:
    unanswered = cli("db", "downgrade")
    refused = cli("db", "downgrade", given=b"n\n")
    unknown = cli("db", "downgrade", "9999", "--yes")
    taken_back = cli("db", "downgrade", "base", "--yes")
    checked = cli("db", "check")
    cli("db", "upgrade")

    assert (unanswered.code, refused.code) == (2, 1)
    assert "Say --yes" in unanswered.err
    assert "Nothing was changed" in refused.out + refused.err
    assert unknown.code == 2
    assert "There is no revision '9999'. There are: base, 0001" in unknown.err
    assert taken_back.code == 0
    assert checked.code == 1
    assert cli("db", "check").code == 0


def test_an_unknown_variable_is_a_warning_with_the_nearest_name(cli: CommandLine) -> None:
    cli.set("PERRON_CONCURENCY", "3")

    done = cli("workers", "list", "--json")

    assert done.code == 0
    assert "Did you mean 'PERRON_CONCURRENCY'" in done.err


def test_a_downgrade_of_the_embedded_server_says_that_it_does_not_last(alone: CommandLine) -> None:
    upgraded = alone("db", "upgrade")
    taken_back = alone("db", "downgrade", "--yes")

    assert (upgraded.code, taken_back.code) == (0, 0)
    assert "is at the earlier revision" in taken_back.out
    assert "upgraded again when this release next starts it" in taken_back.out


@pytest.mark.parametrize("name", ["PERRON_PORT", "PERRON_SERVICE_HOST", "PERRON_SERVICE_PORT_HTTP"])
def test_names_are_not_near_for_their_prefix(cli: CommandLine, name: str) -> None:
    cli.set(name, "x")

    done = cli("workers", "list", "--json")

    assert f"{name} is no setting of Perron" in done.err
    assert "Did you mean" not in done.err


def test_a_perron_toml_that_cannot_be_read_is_one_sentence(alone: CommandLine) -> None:
    (alone.directory / "perron.toml").mkdir()

    done = alone("runs", "list")

    assert done.code == 2
    assert "perron.toml cannot be read: is a directory." in done.err


def test_a_wrong_setting_is_one_sentence(alone: CommandLine) -> None:
    alone.set("PERRON_CONCURRENCY", "many")

    done = alone("runs", "list")

    assert done.code == 2
    assert "PERRON_CONCURRENCY" in done.err


def test_an_unknown_key_in_toml_is_refused(alone: CommandLine) -> None:
    (alone.directory / "perron.toml").write_text("concurency = 3\n")

    done = alone("runs", "list")

    assert done.code == 2
    assert "Did you mean 'concurrency'?" in done.err


def test_debug_shows_the_traceback(script: Script) -> None:
    done = script("--debug", "run", "nobody")

    assert done.code == 2
    assert "Traceback" in done.err
    assert "There is no agent 'nobody'" in done.err


def test_a_reader_that_goes_away_is_no_fault(script: Script) -> None:
    with script.start("settings", "list", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read().decode()

    assert "Traceback" not in err
    assert "BrokenPipe" not in err
