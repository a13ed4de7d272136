"""`perron pause` and `perron unpause`, and where pauses show."""

import pytest
from tests.cli.conftest import CommandLine

from perron.core.platform import Platform


def test_a_pause_shows_wherever_one_looks_for_the_reason(cli: CommandLine) -> None:
    assert cli("pause", "agent", "echo", "--reason", "a bad release").code == 0
    with Platform.open_sync(worker=False) as platform:
        run_id = str(platform.submit("echo", {"text": "hi"}))

    [row] = cli("pause", "list", "--json").json
    assert (row["kind"], row["name"], row["reason"], row["runs"]) == ("agent", "echo", "a bad release", 1)
    agents = {agent["name"]: agent["paused"] for agent in cli("agents", "list", "--json").json}
    assert agents["echo"]["reason"] == "a bad release"
    assert agents["failing"] is None
    assert "paused: a bad release" in cli("agents", "list").out
    [run] = cli("runs", "list", "--json").json
    assert (run["status"], run["parked"]["by"], run["parked"]["reason"]) == (
        "pending",
        "agent echo",
        "a bad release",
    )
    assert "parked (agent echo)" in cli("runs", "list").out
    assert cli("runs", "list", "--all").lines[0]["parked"]["by"] == "agent echo"
    assert "agent echo is paused: a bad release (`perron unpause agent echo`" in cli("runs", "show", run_id).out
    [finding] = [finding for finding in cli("doctor", "--json").json if finding["area"] == "paused"]
    assert "1 run waits for it." in finding["text"]
    assert "perron unpause agent echo" in finding["advice"]

    assert cli("unpause", "agent", "echo").code == 0
    assert cli("runs", "retry", run_id).code == 0
    assert cli("pause", "list", "--json").json == []


def test_pausing_twice_changes_the_reason_and_keeps_since_when(cli: CommandLine) -> None:
    first = cli("pause", "all", "--reason", "one", "--json").json
    again = cli("pause", "all", "--reason", "two", "--json").json

    assert (again["reason"], again["since"]) == ("two", first["since"])
    assert len(cli("pause", "list", "--json").json) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause", "agent", "ehco", "--reason", "x"], "There is no agent 'ehco'. Did you mean 'echo'"),
        (["pause", "integration", "dsk", "--reason", "x"], "There is no integration 'dsk'"),
        (["pause", "connection", "desk/default", "--reason", "x"], "There is no connection 'desk/default'"),
        (["pause", "agent", "echo", "--reason", " "], "A pause needs a reason"),
        (["pause", "agent", "echo"], "--reason"),
        (["unpause", "agent", "echo"], "There is no pause of agent echo. Nothing is paused."),
        (["unpause", "all"], "There is no pause of everything. Nothing is paused."),
    ],
)
def test_what_cannot_be_paused_or_unpaused_is_said(cli: CommandLine, arguments: list[str], said: str) -> None:
    refused = cli(*arguments)

    assert refused.code != 0
    assert said in refused.err


def test_unpausing_something_else_names_what_is_paused(cli: CommandLine) -> None:
    cli("pause", "agent", "echo", "--reason", "a bad release")

    assert "There is no pause of agent failing. Paused are: agent echo." in cli("unpause", "agent", "failing").err
