"""`perron agents check`: what waiting threads need and a new version does not have."""

import json

from tests.cli import graphs
from tests.cli.conftest import CommandLine


def test_a_thread_at_a_node_that_is_gone_ends_with_1_and_what_to_do(cli: CommandLine) -> None:
    waiting = cli("run", "asking", "--input", "{}", "--json").json
    assert cli("agents", "check", "asking").code == 0
    assert "can go on" in cli("agents", "check", "asking").out
    name = f"{graphs.__file__}:renamed"
    (cli.directory / "langgraph.json").write_text(json.dumps({"graphs": {"asking": name}}))

    found = cli("agents", "check", "asking", "--json")

    assert found.code == 1
    [row] = found.json
    assert (row["kind"], row["name"], row["thread_id"]) == ("node", "work", waiting["thread_id"])
    assert "Keep the node" in row["advice"]
    shown = cli("agents", "check", "asking")
    assert shown.code == 1
    assert waiting["thread_id"] in shown.out


def test_an_agent_that_nobody_has_is_refused(cli: CommandLine) -> None:
    refused = cli("agents", "check", "askin")

    assert refused.code != 0
    assert "Did you mean 'asking'" in refused.err
