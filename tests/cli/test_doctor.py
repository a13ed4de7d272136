"""What `perron doctor` finds, and what it says to do."""

from typing import Any

import psycopg
import pytest
from tests.cli.conftest import CommandLine

from perron.cli.checks.database import check_health_of_database
from perron.cli.checks.outbound import check_outbound
from perron.database.upgrade import downgrade
from perron.services.health import Health

HEALTHY: dict[str, Any] = {
    "version": "18.4",
    "clock_offset_s": 0.01,
    "connections": 10,
    "max_connections": 100,
    "has_default_events": False,
    "orphans": 0,
    "overdue": [],
    "live_workers": 1,
    "versions": ["1.0"],
    "dead_workers": 0,
    "open_asks": 0,
    "failed_crons": 0,
    "overdue_crons": 0,
    "failed_webhooks": 0,
    "overdue_webhooks": 0,
}


def test_a_sound_installation_ends_with_0(cli: CommandLine) -> None:
    done = cli("doctor", "--json")

    assert done.code == 0
    assert not [finding for finding in done.json if finding["state"] == "broken"]
    assert _texts(done.json, "database")[0].startswith("PostgreSQL answers")
    assert "Nothing is broken." in cli("doctor").out


def test_an_unreachable_database_is_broken_and_plugins_are_looked_at_all_the_same(cli: CommandLine) -> None:
    cli.set("PERRON_DATABASE_URL", "postgresql://ann:canary@127.0.0.1:1/nothing")

    done = cli("doctor", "--json")

    assert done.code == 1
    assert {finding["area"] for finding in done.json if finding["state"] == "broken"} == {"database"}
    assert _texts(done.json, "plugins")
    assert "settings of agents and integrations could not be read" in _texts(done.json, "leaves to")[-1]
    assert "canary" not in done.out + done.err


def test_a_missing_schema_names_the_command(cli: CommandLine, empty_database: str) -> None:
    cli.set("PERRON_DATABASE_URL", empty_database)

    done = cli("doctor", "--json")

    assert done.code == 1
    assert any("perron db upgrade" in text for text in _texts(done.json, "database"))
    assert not any("is set up" in text for text in _texts(done.json, "leaves to"))


async def test_an_older_schema_names_the_command_and_a_worker_ends_with_it(
    cli: CommandLine, database_url: str
) -> None:
    await downgrade(database_url)

    done, worker = cli("doctor", "--json"), cli("worker")

    assert done.code == 1
    assert any("older than this Perron" in text for text in _texts(done.json, "database"))
    assert worker.code == 1
    assert "older than this Perron" in worker.err
    assert "run `perron db upgrade`" in worker.err


def test_a_newer_schema_that_this_release_can_work_with_is_said_so(cli: CommandLine, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE perron.alembic_version SET version_num = '9999'")

    done = cli("doctor", "--json")

    assert done.code == 0
    assert "The schema is a newer release's (revision 9999), and this one can work with it." in _texts(
        done.json, "database"
    )


def test_a_missing_key_is_broken(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERRON_KEY")

    done = cli("doctor", "--json")

    assert done.code == 1
    assert "There is no key" in _texts(done.json, "key")[0]


def test_an_agent_that_does_not_import_is_broken(cli: CommandLine) -> None:
    (cli.directory / "langgraph.json").write_text('{"graphs": {"lost": "./nowhere.py:graph"}}')

    done = cli("doctor", "--json")

    assert done.code == 1
    assert "The agent lost cannot run" in _texts(done.json, "agents")[0]


def test_a_wrong_setting_is_broken_and_ends_the_look(cli: CommandLine) -> None:
    cli.set("PERRON_LEASE_S", "-1")

    done = cli("doctor", "--json")

    assert done.code == 1
    assert "PERRON_LEASE_S" in _texts(done.json, "settings")[0]


def test_an_unknown_variable_is_a_finding(cli: CommandLine) -> None:
    cli.set("PERRON_LEESE_S", "1")

    finding = next(each for each in cli("doctor", "--json").json if "PERRON_LEESE_S" in each["text"])

    assert finding["state"] == "warning"
    assert "PERRON_LEASE_S" in finding["advice"]


def test_what_is_stuck_and_what_waits_is_found(cli: CommandLine, database_url: str) -> None:
    cli("run", "asking", "-i", '{"text": "x"}')
    for text in ("left", "late", "gone"):
        cli("run", "echo", "-i", f'{{"text": "{text}"}}')
    with psycopg.connect(database_url) as connection:
        runs = [row[0] for row in connection.execute("SELECT run_id FROM perron.runs WHERE graph_id = 'echo'")]
        worker = "INSERT INTO perron.workers (worker_id, host, pid, version, agents, lease_s)"
        values = "VALUES (gen_random_uuid(), 'other', 1, %s, '[\"echo\"]', 600)"
        for version in ("0.1", "0.2"):
            connection.execute(f"{worker} {values}", [version])
        connection.execute("UPDATE perron.runs SET status = 'running' WHERE run_id = %s", [runs[0]])
        connection.execute(
            "UPDATE perron.runs SET status = 'pending', created_at = now() - interval '1 hour' WHERE run_id = %s",
            [runs[1]],
        )
        connection.execute(
            "UPDATE perron.runs SET status = 'pending', graph_id = 'removed',"
            " created_at = now() - interval '1 hour' WHERE run_id = %s",
            [runs[2]],
        )

    findings = cli("doctor", "--json").json

    stuck = _texts(findings, "runs")
    assert any(text.startswith("1 run is left behind") for text in stuck)
    due = "1 run is due for more than 60 s and not begun: "
    assert f"{due}the agent echo is on 2 live workers, with no room for more." in stuck
    assert f"{due}no live worker has the agent removed." in stuck
    assert "They run different releases of Perron: 0.1, 0.2." in _texts(findings, "workers")
    assert _texts(findings, "asks") == ["1 waiting for a person."]


def test_events_outside_their_partitions_are_found(cli: CommandLine, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO perron.run_events (run_id, epoch, n, n_first, event)"
            " VALUES ('00000000-0000-7000-8000-000000000000', 1, 1, 1, 'end')"
        )

    assert any("default partition" in text for text in _texts(cli("doctor", "--json").json, "database"))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"clock_offset_s": -31.0}, "-31.0 s off"), ({"connections": 95}, "95 of 100 connections")],
)
def test_a_database_that_needs_attention_is_a_warning(change: dict[str, Any], said: str) -> None:
    findings = check_health_of_database(Health(**{**HEALTHY, **change}))

    assert [said in finding.text for finding in findings if finding.state == "warning"] == [True]
    assert not [finding for finding in check_health_of_database(Health(**HEALTHY)) if finding.state != "ok"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OPENAI_API_KEY": "canary"}, "api.openai.com"),
        ({"OPENAI_API_KEY": "canary", "OPENAI_BASE_URL": "http://u:canary@models.example/v1"}, "models.example"),
        ({"ANTHROPIC_API_KEY": "canary"}, "api.anthropic.com"),
        ({"LANGSMITH_TRACING": "true"}, "api.smith.langchain.com"),
        ({"LANGCHAIN_TRACING_V2": "true", "LANGSMITH_ENDPOINT": "https://traces.example"}, "traces.example"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4317"}, "collector.example:4317"),
    ],
)
def test_where_data_leaves_to_is_said_without_secrets(variables: dict[str, str], said: str) -> None:
    (finding,) = check_outbound(variables, [])

    assert said in finding.text
    assert "canary" not in finding.text + finding.advice


def _texts(findings: list[dict[str, str]], area: str) -> list[str]:
    return [finding["text"] for finding in findings if finding["area"] == area]
