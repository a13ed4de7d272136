"""Settings in the database: who may change them, which value counts, and what a run gets."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pluggy
import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from perron.caller import Caller
from perron.configuration import load_settings
from perron.database.engine import Database
from perron.errors import ConfigurationError, PermissionDeniedError, UnknownNameError
from perron.plugins.agent import Agent
from perron.plugins.registry import PluginState, RegisteredAgent, Registry
from perron.services.setting import SettingService

ADMIN = Caller.system()
ADA = Caller("ada")


class Config(BaseModel):
    model_config = ConfigDict(frozen=True)

    limit_cents: int = Field(5_000, ge=0, description="Above it a person decides.")
    tone: str = Field("plain", json_schema_extra={"user": True})
    topics: list[str] = Field(default_factory=lambda: ["cards"])


class Needy(BaseModel):
    model: str


class Ordered(BaseModel):
    low: int = 1
    high: int = 9

    @model_validator(mode="after")
    def check(self) -> Ordered:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class DeskSettings(BaseModel):
    base_url: str
    page_size: int = 50


class Desk:
    key = "desk"
    settings_type = DeskSettings


class Granted:
    key = "mail.send"


@pytest.fixture
def registry() -> Registry:
    registry = Registry(pluggy.PluginManager("perron"), timeout_s=1)
    for agent in (
        Agent("triage", print, settings=Config),
        Agent("needy", print, settings=Needy),
        Agent("ordered", print, settings=Ordered),
        Agent("bare", print, uses=[Granted()]),
    ):
        registry.agents[agent.name] = RegisteredAgent(agent.name, agent)
    registry.integrations["desk"] = Desk
    return registry


Open = Callable[..., SettingService]


@pytest.fixture
async def open_service(
    database_url: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    """Open the service as another process would: with what environment and TOML say at that time."""
    monkeypatch.chdir(tmp_path)
    database = Database(database_url)
    yield lambda **overrides: SettingService(database, load_settings(**overrides), registry)
    await database.close()


async def test_the_highest_source_counts(
    open_service: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def value_and_source(caller: Caller = ADA) -> tuple[Any, str]:
        view = await open_service().get(caller, "agent.triage.tone")
        frozen = await open_service().frozen(caller, "triage")
        assert frozen["agent"]["tone"] == view.value
        return view.value, view.source

    assert await value_and_source() == ("plain", "default")

    (tmp_path / "perron.toml").write_text('[agent.triage]\ntone = "of TOML"\n')
    assert await value_and_source() == ("of TOML", "toml")

    monkeypatch.setenv("PERRON_AGENT_TRIAGE__TONE", "of the environment")
    assert await value_and_source() == ("of the environment", "environment")

    await open_service().set(ADMIN, "agent.triage.tone", "of the agent")
    assert await value_and_source() == ("of the agent", "agent")

    await open_service().set(ADA, "agent.triage.tone", "of Ada", for_user=True)
    assert await value_and_source() == ("of Ada", "user")
    assert await value_and_source(Caller("bob")) == ("of the agent", "agent")

    assert await open_service().unset(ADA, "agent.triage.tone", for_user=True)
    assert await value_and_source() == ("of the agent", "agent")
    assert not await open_service().unset(ADA, "agent.triage.tone", for_user=True)


async def test_a_run_gets_all_values_of_its_agent_and_of_the_integrations_that_it_may_use(
    open_service: Open,
) -> None:
    service = open_service()
    await service.set(ADMIN, "integration.desk.base_url", "https://desk.example")

    assert await service.frozen(ADA, "triage") == {
        "agent": {"limit_cents": 5_000, "tone": "plain", "topics": ["cards"]},
        "desk": {"base_url": "https://desk.example", "page_size": 50},
    }
    assert await service.frozen(ADA, "bare") == {"agent": {}}


async def test_what_a_run_got_is_its_own(open_service: Open) -> None:
    service = open_service()

    (await service.frozen(ADA, "triage"))["agent"]["topics"].append("loans")

    assert (await service.frozen(ADA, "triage"))["agent"]["topics"] == ["cards"]


async def test_a_change_counts_at_once_here_and_elsewhere_within_poll_s(open_service: Open) -> None:
    here, elsewhere, at_once = open_service(), open_service(), open_service(poll_s=1e-9)
    for service in (here, elsewhere, at_once):
        assert (await service.frozen(ADA, "triage"))["agent"]["limit_cents"] == 5_000

    await here.set(ADMIN, "agent.triage.limit_cents", 100)

    assert (await here.frozen(ADA, "triage"))["agent"]["limit_cents"] == 100
    assert (await at_once.frozen(ADA, "triage"))["agent"]["limit_cents"] == 100


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("700", "agent.triage.limit_cents", 700),
        ("700", "agent.triage.tone", "700"),
        ('["cards", "loans"]', "agent.triage.topics", ["cards", "loans"]),
        ("3", "concurrency", 3),
    ],
)
async def test_text_is_read_as_the_fields_type(open_service: Open, text: str, name: str, value: Any) -> None:
    assert (await open_service().set(ADMIN, name, text)).value == value


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("agent.triage.limit_cents", -1, "agent.triage.limit_cents does not fit: .* greater than or equal to 0"),
        ("agent.triage.limit_cents", "much", "valid integer"),
        ("agent.triage.topics", "cards", "valid list"),
        ("agent.ordered.low", 10, "low is above high"),
        ("concurrency", 0, "greater than or equal to 1"),
    ],
)
async def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(
    open_service: Open, name: str, value: Any, reason: str
) -> None:
    service = open_service()

    with pytest.raises(ConfigurationError, match=reason):
        await service.set(ADMIN, name, value)

    assert (await service.get(ADMIN, name)).source == "default"
    assert await service.history(ADMIN, name) == []


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("agent.triage.limit_cent", "agent.triage.limit_cents"),
        ("agent.triag.tone", "agent.triage.tone"),
        ("concurency", "concurrency"),
    ],
)
async def test_an_unknown_name_is_refused_with_the_nearest(open_service: Open, name: str, nearest: str) -> None:
    for act in (open_service().get(ADMIN, name), open_service().set(ADMIN, name, 1)):
        with pytest.raises(UnknownNameError, match=f"Did you mean '{nearest}'"):
            await act


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("agent.triage.x", "There are: agent.triage.limit_cents, agent.triage.tone, agent.triage.topics."),
        ("agent.needy.tone", "There are: agent.needy.model."),
        ("agent.bare.tone", "None begins with 'agent.bare.'."),
        ("integration.desk.bass_url", "Did you mean 'integration.desk.base_url'?"),
    ],
)
async def test_an_unknown_name_of_an_agent_brings_only_its_own(open_service: Open, name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        await open_service().get(ADMIN, name)

    assert raised.value.message == f"There is no setting {name!r}. {hint}"


async def test_only_admins_change_what_counts_for_everybody(open_service: Open) -> None:
    service = open_service()

    for name in ("concurrency", "agent.triage.tone", "integration.desk.base_url"):
        with pytest.raises(PermissionDeniedError, match="Only admins"):
            await service.set(ADA, name, "1")
        with pytest.raises(PermissionDeniedError, match="Only admins"):
            await service.unset(ADA, name)
    with pytest.raises(PermissionDeniedError, match="not one that users may set"):
        await service.set(ADA, "agent.triage.limit_cents", 1, for_user=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("database_url", "needed before the database is open.* set PERRON_DATABASE_URL"),
        ("plugins", "needed before the database is open"),
        ("key", "is a key"),
        ("key_file", "is a key"),
    ],
)
async def test_what_the_database_cannot_hold_is_refused(open_service: Open, name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        await open_service().set(ADMIN, name, "x")


async def test_the_history_tells_who_changed_what(open_service: Open) -> None:
    service = open_service()
    await service.set(ADMIN, "agent.triage.limit_cents", 100)
    await service.set(Caller("root", is_admin=True), "agent.triage.limit_cents", 200)
    await service.unset(ADMIN, "agent.triage.limit_cents")

    changes = await service.history(ADMIN, "agent.triage.limit_cents")

    assert [(change.old_value, change.new_value, change.changed_by) for change in changes] == [
        (200, None, "system"),
        (100, 200, "root"),
        (None, 100, "system"),
    ]


async def test_a_required_setting_that_nobody_set_is_named_with_the_command(open_service: Open) -> None:
    service = open_service()
    with pytest.raises(ConfigurationError, match=r"`perron settings set agent\.needy\.model VALUE`"):
        await service.frozen(ADA, "needy")

    await service.set(ADMIN, "agent.needy.model", "fake")

    assert (await service.frozen(ADA, "needy"))["agent"] == {"model": "fake"}


async def test_a_value_from_outside_that_does_not_fit_is_named_with_its_source(
    open_service: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERRON_AGENT_TRIAGE__LIMIT_CENTS", "much")

    with pytest.raises(ConfigurationError, match=r"agent\.triage\.limit_cents \(from environment\) does not fit"):
        await open_service().frozen(ADA, "triage")


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("[agent.triage]\nlimit_cent = 1", r"Did you mean 'agent\.triage\.limit_cents'"),
        ("[agent.triag]\ntone = 'x'", "There is no agent 'triag'. Did you mean 'triage'"),
        ("[integration.dessk]\nbase_url = 'x'", "There is no integration 'dessk'. Did you mean 'desk'"),
        ("[agent]\ntriage = 5", "are a table"),
    ],
)
async def test_toml_that_nobody_declares_is_refused(
    open_service: Open, tmp_path: Path, toml: str, reason: str
) -> None:
    (tmp_path / "perron.toml").write_text(toml)

    with pytest.raises(ConfigurationError, match=reason):
        open_service()


async def test_toml_for_the_integration_of_a_plugin_that_failed_is_left_alone(
    open_service: Open, registry: Registry, tmp_path: Path
) -> None:
    registry.plugins.append(PluginState("mail", "acme-mail", "1", state="failed", error="It raised."))
    (tmp_path / "perron.toml").write_text("[integration.mail]\nhost = 'x'")

    assert await open_service().list(ADMIN)


async def test_an_unknown_variable_of_an_agent_only_warns(
    open_service: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERRON_AGENT_TRIAGE__LIMIT_CENT", "1")

    with pytest.warns(UserWarning, match="Did you mean 'PERRON_AGENT_TRIAGE__LIMIT_CENTS'"):
        open_service()


async def test_a_variable_of_an_agent_does_not_warn(open_service: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERRON_AGENT_TRIAGE__LIMIT_CENTS", "1")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_service()


async def test_the_platforms_settings_lie_below_arguments_and_above_the_environment(
    open_service: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERRON_CONCURRENCY", "4")
    await open_service().set(ADMIN, "concurrency", 8)
    await open_service().set(ADMIN, "max_attempts", 5)

    assert (await open_service().platform(ADMIN)).concurrency == 8
    with_argument = await open_service(concurrency=2).platform(ADMIN)
    assert (with_argument.concurrency, with_argument.max_attempts) == (2, 5)
    assert (await open_service(concurrency=2).get(ADMIN, "concurrency")).source == "argument"


async def test_the_list_shows_values_sources_and_no_secret(
    open_service: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERRON_KEY", "canary")

    views = {view.name: view for view in await open_service().list(ADMIN)}

    assert views["key"].source == "environment"
    assert "canary" not in repr(views)
    assert views["agent.triage.limit_cents"].description == "Above it a person decides."
    assert (views["agent.triage.tone"].is_users, views["agent.triage.limit_cents"].is_users) == (True, False)
    assert views["integration.desk.base_url"].source == "unset"


async def test_settings_of_another_tenant_do_not_count(open_service: Open) -> None:
    await open_service().set(ADMIN, "agent.triage.limit_cents", 1)

    other = await open_service().get(Caller("ada", tenant="other"), "agent.triage.limit_cents")

    assert other.value == 5_000
