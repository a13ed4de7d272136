"""What the lists and views of the platform show."""

import json
from typing import Any
from uuid import uuid4

import pytest
from tests.cli.conftest import CommandLine

from perron.cli.commands import COMMANDS

TEXT = '{"text": "hello"}'


@pytest.mark.parametrize(
    "noun",
    ["agents", "asks", "calls", "connections", "crons", "runs", "settings", "threads", "webhooks", "workers"],
)
def test_every_list_is_an_array_for_programs_and_more_than_nothing_for_people(cli: CommandLine, noun: str) -> None:
    rows = cli(noun, "list", "--json")
    shown = cli(noun, "list")

    assert isinstance(rows.json, list)
    assert (rows.code, shown.code) == (0, 0)
    assert shown.out.strip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs", "--status", "eror"], "There is no status 'eror' of runs. Did you mean 'error'"),
        (["threads", "--status", "waiting"], "There are: idle, busy, interrupted, error."),
        (["asks", "--kind", "aproval"], "There is no kind 'aproval' of asks. Did you mean 'approval'"),
        (["calls", "--state", "donne"], "There is no state 'donne' of calls. Did you mean 'done'"),
        (["settings", "--agent", "ehco"], "There is no agent 'ehco'. Did you mean 'echo'"),
        (["settings", "--integration", "dsk"], "There is no integration 'dsk'"),
    ],
)
def test_a_filter_that_nothing_can_have_is_refused(cli: CommandLine, arguments: list[str], said: str) -> None:
    noun, *given = arguments

    refused = cli(noun, "list", *given)

    assert refused.code == 2
    assert said in refused.err
    assert refused.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs", "--status", "error", "--agent", "echo"], "No runs with status error and agent echo."),
        (["threads", "--status", "busy"], "No threads with status busy."),
        (["asks", "--kind", "approval"], "No open asks with kind approval."),
        (["asks", "--kind", "approval", "--all"], "No asks with kind approval."),
        (["calls", "--operation", "desk.refund"], "No calls with operation desk.refund."),
    ],
)
def test_an_empty_list_says_what_was_looked_for(cli: CommandLine, arguments: list[str], said: str) -> None:
    noun, *given = arguments

    assert cli(noun, "list", *given).out == f"{said}\n"


def test_agents_show_where_they_come_from_and_their_graph(cli: CommandLine) -> None:
    names = [row["name"] for row in cli("agents", "list", "--json").json]
    shown = cli("agents", "show", "two_steps")
    mermaid = cli("agents", "show", "two_steps", "--mermaid")

    assert "two_steps" in names
    assert "start → wait" in shown.out
    assert "__start__ --> wait" in mermaid.out
    assert "state" not in mermaid.out


def test_an_agent_that_does_not_import_is_listed_with_the_reason(cli: CommandLine) -> None:
    (cli.directory / "langgraph.json").write_text('{"graphs": {"lost": "./nowhere.py:graph"}}')

    row = next(row for row in cli("agents", "list", "--json").json if row["name"] == "lost")

    assert row["state"] == "failed"
    assert "no such file" in row["error"]


def test_another_langgraph_json_is_named_before_the_command(cli: CommandLine) -> None:
    graphs = json.loads((cli.directory / "langgraph.json").read_text())["graphs"]
    (cli.directory / "other.json").write_text(json.dumps({"graphs": {"renamed": graphs["echo"]}}))

    done = cli("--config", "other.json", "run", "renamed", "-i", TEXT)
    missing = cli("--config", "none.json", "run", "renamed", "-i", TEXT)

    assert done.code == 0
    assert missing.code == 2
    assert "none.json, which does not exist" in missing.err


def test_plugins_have_the_promised_columns_and_need_no_database(alone: CommandLine) -> None:
    alone.set("PERRON_DATABASE_URL", "postgresql://127.0.0.1:1/nothing")

    rows = alone("plugins", "list", "--json").json

    assert {"name", "distribution", "version", "state", "error"} == set(rows[0])
    desk = next(row for row in rows if row["name"] == "desk")
    assert (desk["distribution"], desk["state"]) == ("perron-desk", "denied")


def test_an_integration_shows_its_operations(alone: CommandLine) -> None:
    alone.set("PERRON_PLUGINS", "desk")

    shown = alone("integrations", "show", "desk", "--json").json
    unknown = alone("integrations", "show", "dsk")

    refund = next(each for each in shown["operations"] if each["key"] == "desk.refund")
    assert (refund["effect"], refund["repeat"]) == ("create", "SameKey")
    assert unknown.code == 2
    assert "Did you mean 'desk'?" in unknown.err


def test_a_thread_shows_state_and_history_and_goes_to_somebody_else(cli: CommandLine) -> None:
    thread = cli("run", "echo", "-i", TEXT, "--json").json["thread_id"]

    state = cli("threads", "state", thread, "--json").json
    history = cli("threads", "history", thread, "--json").json
    refused = cli("threads", "state", thread, "--checkpoint", "nope")
    transferred = cli("threads", "transfer", thread, "--to", "ann")

    assert state["values"]["answer"] == "You said: hello"
    assert [each["step"] for each in history] == [1, 0, -1]
    assert cli("threads", "state", thread, "--checkpoint", history[1]["checkpoint_id"], "--json").json["next"] == [
        "work"
    ]
    assert "belongs to ann now" in transferred.out
    assert cli("threads", "show", thread, "--json").json["owner"] == "ann"
    assert cli("runs", "list", "--json").json[0]["owner"] == "ann"
    assert (refused.code, refused.out) == (2, "")
    assert f"The thread {thread} has no checkpoint 'nope'." in refused.err


def test_a_run_is_one_timeline_with_its_waits_and_answers(cli: CommandLine) -> None:
    asked = cli("run", "asking", "-i", "{}", "--json").json
    cli("answer", asked["waiting"][0]["id"], "--value", '"blue"')

    shown = cli("runs", "show", asked["run_id"])
    timeline = cli("runs", "show", asked["run_id"], "--json").json["timeline"]

    assert [entry["kind"] for entry in timeline] == ["attempt", "step", "ask"]
    assert timeline[1]["state"] == "waiting"
    assert timeline[2]["facts"]["decision"] == "respond"
    assert timeline[2]["facts"]["value"] == "blue"
    assert "Which colour?" in shown.out
    assert "goes on in run" in shown.out


def test_asks_are_named_by_their_end(cli: CommandLine) -> None:
    ask = cli("run", "asking", "-i", "{}", "--json").json["waiting"][0]["id"]

    listed = cli("asks", "list")
    shown = cli("asks", "show", ask[-8:])

    assert ask[-8:] in listed.out
    assert ask in shown.out
    assert f"perron answer {ask[-8:]} --value JSON" in shown.out


def test_a_run_that_ended_is_not_cancelled(cli: CommandLine) -> None:
    run = cli("run", "echo", "-i", TEXT, "--json").json["run_id"]

    cancelled = cli("runs", "cancel", run, "--action", "rollback")
    mistaken = cli("runs", "cancel", run, "--action", "drop")
    unknown = cli("runs", "cancel", str(uuid4()))

    assert cancelled.code == 1
    assert "has ended as success" in cancelled.err
    assert mistaken.code == 2
    assert "--action takes interrupt or rollback, not 'drop'" in mistaken.err
    assert unknown.code == 2
    assert "`perron runs list`" in unknown.err


def test_a_failed_run_is_retried_from_where_it_stopped(cli: CommandLine) -> None:
    run = cli("run", "failing", "-i", TEXT, "--json").json["run_id"]

    retried = cli("runs", "retry", run, "--json")

    assert retried.code == 1
    assert retried.json["run_id"] != run
    assert "cannot work with 'hello'" in retried.json["error"]["message"]


def test_a_run_is_followed_to_its_end(cli: CommandLine) -> None:
    run = cli("run", "echo", "-i", TEXT, "--stream", "updates", "--json").lines[-1]["data"]["run_id"]

    events = cli("runs", "follow", run, "--json").lines
    rest = cli("runs", "follow", run, "--after", events[0]["id"], "--json").lines

    assert events[-1]["event"] == "end"
    assert rest == events[1:]


def test_settings_are_set_and_taken_back_and_remember(cli: CommandLine) -> None:
    changed = cli("settings", "set", "concurrency", "3", "--json").json
    shown = cli("settings", "get", "concurrency", "--json").json
    taken_back = cli("settings", "unset", "concurrency", "--json").json
    history = cli("settings", "history", "concurrency", "--json").json

    assert (changed["value"], shown["source"]) == (3, "platform")
    assert (taken_back["value"], taken_back["was_set"]) == (16, True)
    assert [(each["old_value"], each["new_value"]) for each in history] == [(3, None), (None, 3)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "concurrncy", "3"], "Did you mean 'concurrency'?"),
        (["get", "agent.echo.x"], "There is no setting 'agent.echo.x'. None begins with 'agent.echo.'."),
        (["set", "concurrency", "many"], "does not fit"),
        (["set", "database_url", "x"], "PERRON_DATABASE_URL"),
        (["get", "x", "--agent", "a", "--integration", "b"], "give one of the two options"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(cli: CommandLine, arguments: list[str], said: str) -> None:
    refused = cli("settings", *arguments)

    assert refused.code == 2
    assert said in refused.err


def test_an_agent_that_is_gone_is_listed_as_missing(cli: CommandLine) -> None:
    cli("agents", "list")
    file = cli.directory / "langgraph.json"
    file.write_text(file.read_text().replace('"echo"', '"reply"'))

    row = next(row for row in cli("agents", "list", "--json").json if row["name"] == "echo")
    shown = cli("agents", "show", "echo")
    drawn = cli("agents", "show", "echo", "--mermaid")

    assert row["state"] == "missing"
    assert "it is not installed any more" in cli("agents", "list").out
    assert "it is not installed any more" in shown.out
    assert (drawn.code, drawn.out) == (1, "")
    assert "The agent 'echo' has no graph to draw: it is not installed any more." in drawn.err


def test_an_integration_that_there_is_not_is_said_before_its_variable(cli: CommandLine) -> None:
    cli.set("PERRON_PLUGINS", "desk")

    refused = cli("connections", "add", "dsek", "--from-env", "NOT_SET_ANYWHERE")

    assert refused.code == 2
    assert "Did you mean 'desk'?" in refused.err


def test_a_connection_needs_a_variable_that_is_set(cli: CommandLine) -> None:
    cli.set("PERRON_PLUGINS", "desk")

    refused = cli("connections", "add", "desk", "--from-env", "NOT_SET_ANYWHERE")

    assert refused.code == 2
    assert "NOT_SET_ANYWHERE is not set" in refused.err


def test_lists_show_no_terminal_codes_of_what_came_from_outside(cli: CommandLine) -> None:
    cli("run", "failing", "-i", json.dumps({"text": "\x1b[31mred\x07"}))

    assert "\x1b" not in cli("runs", "list").out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(alone: CommandLine, name: str) -> None:
    done: Any = alone(name, "--help")

    assert done.code == 0
    assert "Usage: perron" in done.out


def test_all_runs_come_as_one_line_each(cli: CommandLine) -> None:
    for _ in range(3):
        cli("run", "echo", "--input", TEXT)
    cli("run", "failing", "--input", TEXT)

    every = cli("runs", "list", "--all")
    some = cli("runs", "list", "--all", "--agent", "echo")

    assert [run["agent"] for run in every.lines] == ["failing", "echo", "echo", "echo"]
    assert every.lines[1:] == some.lines
    assert cli("runs", "list", "--all", "--status", "eror").code == 2
    assert cli("calls", "list", "--all").out == ""


def test_runs_that_wait_are_found_as_they_are_shown(cli: CommandLine) -> None:
    cli("run", "echo", "--input", TEXT)
    cli("run", "failing", "--input", TEXT)
    asked = cli("run", "asking", "--input", TEXT, "--json").json
    answered = cli("run", "asking", "--input", TEXT, "--json").json
    cli("answer", answered["waiting"][0]["id"], "--value", "true")

    shown = cli("runs", "list", "--status", "waiting")
    page = cli("runs", "list", "--status", "waiting", "--json").json
    every = cli("runs", "list", "--status", "waiting", "--all").lines

    assert shown.out.count("waiting") == 1
    assert [(run["run_id"], run["status"]) for run in page] == [(asked["run_id"], "success")]
    assert every == page
