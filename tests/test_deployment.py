"""What stands in config/, the image and docker-compose.yml, against the code that they deploy."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from dotenv import dotenv_values
from langgraph.graph.state import CompiledStateGraph

from perron.configuration import load_settings, read_toml
from perron.database.url import DatabaseUrl
from perron.integrations.integration import Integration
from perron.plugins.loader import load_plugins

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config"
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
HADOLINT = Path(sys.executable).with_name("hadolint")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_file_of_config_is_loaded_here() -> None:
    found = {path.name for path in CONFIG.iterdir() if path.is_file()}

    assert found == {"compose.env.example", "greeter.py", "langgraph.json", "perron.toml"}


def test_the_toml_holds_settings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERRON_CONFIG", str(CONFIG / "perron.toml"))

    settings = load_settings()

    assert settings.run_timeout_s == read_toml()["run_timeout_s"]


async def test_the_tables_of_the_toml_hold_settings_that_exist() -> None:
    tables = tomllib.loads((CONFIG / "perron.toml").read_text(encoding="utf-8"))
    registry = await load_plugins(load_settings())

    desk = cast("type[Integration[Any, Any]]", registry.integrations["desk"])
    triage = registry.get_agent("triage").settings

    assert triage is not None
    for model, values in (
        (desk.settings_type, tables["integration"]["desk"]),
        (triage, tables["agent"]["triage"]),
    ):
        assert set(values) <= set(model.model_fields)
        model.model_validate(values)
    assert (set(tables["integration"]), set(tables["agent"])) == ({"desk"}, {"triage"})


async def test_the_agent_of_langgraph_json_is_found_and_builds_a_graph_that_runs() -> None:
    settings = load_settings(langgraph_json=CONFIG / "langgraph.json", plugins="none")

    registry = await load_plugins(settings)

    greeter = cast("CompiledStateGraph[Any]", registry.get_agent("greeter").build)
    state = await greeter.ainvoke({"name": "Ada"})
    assert state["greeting"] == "Good morning, Ada!"


def test_the_example_environment_has_every_variable_that_compose_demands() -> None:
    demanded = set(re.findall(r"\$\{(\w+):\?", COMPOSE_TEXT))

    assert demanded
    assert demanded <= set(dotenv_values(CONFIG / "compose.env.example"))


def test_perron_waits_for_the_upgrade_and_the_upgrade_for_the_database() -> None:
    assert SERVICES["upgrade"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["perron"]["depends_on"] == {"upgrade": {"condition": "service_completed_successfully"}}
    assert "healthcheck" in SERVICES["postgres"]


def test_two_workers_begin_after_the_upgrade_and_are_left_time_to_drain() -> None:
    worker = SERVICES["worker"]

    assert worker["deploy"]["replicas"] == 2
    assert worker["depends_on"] == {"upgrade": {"condition": "service_completed_successfully"}}
    assert float(worker["stop_grace_period"].removesuffix("s")) > load_settings().drain_s
    port = worker["command"][1].removeprefix("--health=")
    assert f"http://127.0.0.1:{port}/ready" in worker["healthcheck"]["test"][-1]


def test_postgres_is_18_and_keeps_its_data_where_its_image_does() -> None:
    assert SERVICES["postgres"]["image"] == "pgvector/pgvector:pg18"
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "postgres" in COMPOSE["volumes"]


def test_perron_gets_the_database_that_postgres_makes() -> None:
    made = SERVICES["postgres"]["environment"]
    text = SERVICES["perron"]["environment"]["PERRON_DATABASE_URL"]

    url = re.sub(r"\$\{POSTGRES_PASSWORD:[^}]*\}", "secret", text)

    DatabaseUrl.parse(url)
    assert url == f"postgresql://{made['POSTGRES_USER']}:secret@postgres:5432/{made['POSTGRES_DB']}"


def commands() -> list[str]:
    """Return the commands of `perron` that the services and the comments of docker-compose.yml run."""
    started = [" ".join(service["command"]) for service in SERVICES.values() if service.get("image") == "perron"]
    advised = re.findall(r"docker compose run --rm perron ((?:[a-z]+ ?)+)", COMPOSE_TEXT)
    return sorted({command.strip() for command in [*started, *advised] if not command.startswith("--")})


@pytest.mark.parametrize("command", commands())
def test_a_command_of_compose_exists(command: str) -> None:
    words = command.split()
    known = words[:2] if words[0] in {"agents", "db", "workers"} else words[:1]

    helped = subprocess.run(
        [Path(sys.executable).with_name("perron"), *known, "--help"], capture_output=True, text=True, check=False
    )

    assert helped.returncode == 0, helped.stderr


def test_the_desk_is_where_the_toml_says() -> None:
    base_url = tomllib.loads((CONFIG / "perron.toml").read_text(encoding="utf-8"))["integration"]["desk"][
        "base_url"
    ]
    port = next(word for word in SERVICES["desk"]["command"] if word.startswith("--port=")).removeprefix("--port=")

    assert base_url == f"http://desk:{port}"


def test_the_image_is_built_in_stages_from_named_versions_and_runs_as_nobody_special() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.M)

    assert len(images) > 1
    assert all(":" in image and not image.endswith(":latest") for image in images)
    assert re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.M) == ["10001"]


def test_the_image_gets_every_distribution_of_the_workspace() -> None:
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["workspace"]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}

    assert kept == {"pyproject.toml"} | {member.split("/")[0] for member in workspace["members"]}


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint has no wheel for this system")
def test_the_dockerfile_passes_hadolint() -> None:
    linted = subprocess.run(
        [HADOLINT, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert linted.returncode == 0, linted.stdout
