"""`perron crons`, as its users have it."""

from typing import Any

import pytest
from tests.cli.conftest import CommandLine

TEXT = '{"text": "hello"}'


def create(cli: CommandLine, *options: str) -> dict[str, Any]:
    row: dict[str, Any] = cli("crons", "create", "echo", "0 9 * * *", "-i", TEXT, *options, "--json").json
    return row


def test_a_cron_is_made_shown_changed_and_deleted(cli: CommandLine) -> None:
    made = cli("crons", "create", "echo", "0 9 * * MON-FRI", "--timezone", "Europe/Zurich", "-i", TEXT)
    [row] = cli("crons", "list", "--json").json
    cron = row["cron_id"]

    assert made.out.startswith(f"The cron {cron} is due next at ")
    assert (row["state"], row["agent"], row["payload"]) == ("on", "echo", {"input": {"text": "hello"}})
    assert "Europe/Zurich" in cli("crons", "list").out
    assert "hello" in cli("crons", "show", cron).out
    assert cli("crons", "update", cron, "--disable").out == f"The cron {cron} is disabled.\n"
    changed = cli("crons", "update", cron, "--enable", "--schedule", "@hourly", "--keep", "--json").json
    assert (changed["state"], changed["schedule"], changed["on_run_completed"]) == ("on", "0 * * * *", "keep")
    assert changed["timezone"] == "Europe/Zurich"
    assert cli("crons", "delete", cron).out == f"The cron {cron} is deleted.\n"
    assert cli("crons", "list").out.startswith("No cron yet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["echo", "0 0 30 2 *"], "never fires: there is no such day."),
        (["echo", "every day"], "has not five fields"),
        (["echo", "@daily", "--timezone", "Europe/Zuerich"], "Did you mean 'Europe/Zurich'"),
        (["echo", "@daily", "--end", "2020-01-01"], "has passed: nothing would ever be run."),
        (["echo", "@daily", "--end", "tomorrow"], "The option end_time does not fit"),
        (["ehco", "@daily"], "Did you mean 'echo'"),
        (["echo", "@daily", "--webhook", "http://localhost/hook"], "leads to an internal address"),
        (["echo", "@daily", "--context", "[]"], "--context takes a JSON object"),
    ],
)
def test_what_cannot_be_a_cron_is_refused_in_a_sentence(cli: CommandLine, arguments: list[str], said: str) -> None:
    refused = cli("crons", "create", *arguments)

    assert refused.code == 2
    assert said in refused.err
    assert refused.out == ""


def test_an_end_is_set_and_taken_away(cli: CommandLine) -> None:
    cron = create(cli, "--end", "2090-01-01T00:00:00+01:00")

    unlimited = cli("crons", "update", cron["cron_id"], "--no-end", "--json").json

    assert cron["end_time"] == "2090-01-01T00:00:00+01:00"
    assert unlimited["end_time"] is None


def test_a_change_of_nothing_and_an_unknown_cron_are_refused(cli: CommandLine) -> None:
    cron = create(cli)["cron_id"]

    assert "There is nothing to change" in cli("crons", "update", cron).err
    assert "There is no cron" in cli("crons", "show", "00000000-0000-0000-0000-000000000000").err
    assert "'nonsense' is no cron id" in cli("crons", "delete", "nonsense").err
