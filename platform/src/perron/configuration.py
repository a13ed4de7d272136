"""The platform's settings: what is read before the database is open, and the defaults of all the rest.

Order: environment (`PERRON_*`) > `perron.toml` in the working directory > the defaults here. Settings that
operators change while the platform runs live in the database (`services/setting.py`) and stand above these.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import tomllib
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from perron.errors import ConfigurationError, UnknownNameError, nearest

ENV_PREFIX = "PERRON_"
TOML_FILE = "perron.toml"

CONNECTION_PREFIX = "PERRON_CONNECTION_"
"""`PERRON_CONNECTION_DESK` has the credentials of the integration `desk`."""
_OTHER_TABLES = ("agent", "integration", "connection")

LogLevel = Literal["debug", "info", "warning", "error"]

_LONGEST_DAYS = 36_500


_SIGNING_KEY_BYTES = (24, 64)  # the specification's, of Standard Webhooks


class PlatformSettings(BaseSettings):
    """Every setting of the platform, with unit, default and meaning."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True
    )

    database_url: SecretStr | None = Field(None, description="PostgreSQL to use; none: the embedded server.")
    database_direct_url: SecretStr | None = Field(
        None, description="The same database past a transaction pooler, for LISTEN and session settings."
    )
    database_schema: str = Field("perron", pattern=r"^[a-z_][a-z0-9_]*$", description="Schema of our tables.")
    langgraph_schema: str = Field(
        "langgraph", pattern=r"^[a-z_][a-z0-9_]*$", description="Schema of LangGraph's checkpoints and store."
    )
    queue_schema: str = Field(
        "pgqueuer", pattern=r"^[a-z_][a-z0-9_]*$", description="Schema of the queue's tables."
    )
    database_timeout_s: float = Field(10.0, gt=0, description="How long a connection may take to open.")
    answer_timeout_s: float = Field(
        60.0, gt=0, description="How long a statement or transaction may take before it counts as lost."
    )
    pool_size: int = Field(15, ge=1, description="Connections kept open for our tables, per process, once used.")
    max_overflow: int = Field(0, ge=0, description="Connections above pool_size: each is opened for one use.")
    pool_recycle_s: int = Field(3600, ge=1, description="Age at which a connection is replaced.")
    checkpoint_pool_size: int = Field(8, ge=1, description="Connections for LangGraph, per process.")
    echo: bool = Field(False, description="Log every SQL statement.")

    home: Path = Field(Path(".perron"), description="Directory of the embedded server and the key file.")
    key: SecretStr | None = Field(
        None, description="Key-encryption key, 32 bytes in base64; embedded mode makes a key file instead."
    )
    key_file: Path | None = Field(None, description="File that holds the key-encryption key.")
    langgraph_json: Path | None = Field(None, description="A langgraph.json whose graphs are agents here.")

    plugins: str = Field("", description="`none`, or a list: only these plugins are loaded.")
    plugins_deny: str = Field("", description="A list: these plugins are never loaded.")
    plugin_timeout_s: float = Field(30.0, gt=0, description="Longest import or hook of a plugin.")

    worker_agents: str = Field("", description="A list: this process executes runs of these agents only.")
    worker_memory_mb: int | None = Field(
        None, ge=64, description="`perron worker` gives its runs back and ends when its memory is above this."
    )
    tenant: str = Field("default", description="The tenant of runs that are started here.")
    concurrency: int = Field(16, ge=1, description="Runs that one process executes at once.")
    lease_s: float = Field(10.0, gt=0, description="After this long without a beat a worker counts as dead.")
    beat_s: float = Field(2.0, gt=0, description="Interval of a worker's beats.")
    poll_s: float = Field(1.0, gt=0, description="Interval at which due runs and cancels are looked for.")
    max_attempts: int = Field(3, ge=1, description="Starts of a run without a finished step in between.")
    run_timeout_s: float = Field(86_400.0, gt=0, description="A run that takes longer ends as `timeout`.")
    drain_s: float = Field(30.0, gt=0, description="How long closing waits for runs to reach a step's end.")
    recursion_limit: int = Field(100, ge=1, description="Steps after which a graph counts as endless.")
    input_max_bytes: int = Field(
        32_000_000, ge=1, description="The largest input of a run, and its largest answers, as JSON."
    )

    webhook_secret: SecretStr | None = Field(
        None,
        description="Signs webhooks, 24 to 64 bytes in base64, also behind `whsec_`; none: they are unsigned.",
    )
    webhook_timeout_s: float = Field(10.0, gt=0, description="How long a receiver of a webhook may take.")
    webhook_allow_private: bool = Field(
        False, description="Let webhooks go to internal addresses too: whoever starts runs can then reach those."
    )

    thread_ttl_minutes: float | None = Field(
        None,
        gt=0,
        le=_LONGEST_DAYS * 1_440,
        description="How long new threads last after their last update; none: until they are deleted.",
    )
    thread_ttl_strategy: Literal["delete", "keep_latest"] = Field(
        "delete", description="What goes then: the thread, or all but its latest state (`keep_latest`)."
    )
    thread_ttl_waiting: bool = Field(False, description="Let threads expire too that wait for a person.")
    keep_events_days: float = Field(
        30,
        ge=0,
        le=_LONGEST_DAYS,
        description="Age at which the events of ended runs go, by whole weeks; 0: never.",
    )
    keep_runs_days: float = Field(
        90, ge=0, le=_LONGEST_DAYS, description="Age at which ended runs go, with their asks and events; 0: never."
    )
    keep_calls_days: float = Field(
        90,
        ge=0,
        le=_LONGEST_DAYS,
        description="Age at which settled calls go that no run can come to again; 0: never.",
    )
    keep_webhooks_days: float = Field(
        30, ge=0, le=_LONGEST_DAYS, description="Age at which delivered and failed webhooks go; 0: never."
    )
    keep_crons_days: float = Field(
        30, ge=0, le=_LONGEST_DAYS, description="Age at which ended crons go; 0: never."
    )
    keep_workers_days: float = Field(
        1, ge=0, le=_LONGEST_DAYS, description="Age at which the rows of dead workers go; 0: never."
    )
    keep_queue_log_days: float = Field(
        7, ge=0, le=_LONGEST_DAYS, description="Age at which the log and statistics of the queue go; 0: never."
    )

    log_level: LogLevel = Field("info", description="Least severe log line that is written.")
    log_json: bool | None = Field(None, description="Logs as JSON; default: unless on a terminal.")

    @field_validator("webhook_secret")
    @classmethod
    def _is_signing_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                key = base64.b64decode(value.get_secret_value().removeprefix("whsec_"), validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("it is not base64: make one with `openssl rand -base64 32`") from None
            if not _SIGNING_KEY_BYTES[0] <= len(key) <= _SIGNING_KEY_BYTES[1]:
                raise ValueError(f"it has {len(key)} bytes: make one with `openssl rand -base64 32`")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then TOML."""
        return init_settings, env_settings, _TomlSource(settings_cls)


class _TomlSource(PydanticBaseSettingsSource):
    """`perron.toml`: flat keys, each the name of a setting; tables of agents and integrations are not ours."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False  # unused: __call__ answers for all fields at once

    def __call__(self) -> dict[str, Any]:
        known = self.settings_cls.model_fields
        values = {k: v for k, v in read_toml().items() if k not in _OTHER_TABLES}
        for name in values:
            if name not in known:
                raise UnknownNameError("setting", name, known)
        return values


def read_toml(directory: Path | None = None) -> dict[str, Any]:
    """Return what `perron.toml` says, or nothing when there is none.

    `PERRON_CONFIG` names another file. Tables `agent.NAME` and `integration.KEY` hold the settings of agents
    and integrations, `connection.KEY` where the credentials are.
    """
    named = os.environ.get("PERRON_CONFIG")
    path = Path(named) if named else (directory or Path.cwd()) / TOML_FILE
    if not path.exists():
        if named:
            raise ConfigurationError(f"PERRON_CONFIG names {path}, which does not exist.")
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path} is no valid TOML: {exc}.") from exc
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {(exc.strerror or str(exc)).lower()}.") from exc


def load_settings(**overrides: Any) -> PlatformSettings:
    """Read environment and TOML, with `overrides` above both.

    Raises:
        ConfigurationError: A value does not fit, or TOML names a setting that does not exist.
    """
    for name in unknown_variables():
        # Only a warning: Kubernetes puts PERRON_PORT and the like into every pod beside a Service `perron`.
        warnings.warn(
            f"The environment variable {name} is no setting of Perron.{nearest_variable(name)}", stacklevel=2
        )
    try:
        return PlatformSettings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as exc:
        problem = exc.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            raise UnknownNameError("setting", name, PlatformSettings.model_fields) from None
        raise ConfigurationError(
            f"The setting {name} ({ENV_PREFIX}{name.upper()}) does not fit: {problem['msg']}."
        ) from None


_DECLARED_VARIABLE = re.compile(r"PERRON_(AGENT|INTEGRATION)_\w+?__\w")
_OTHER_VARIABLES = {"PERRON_CONFIG", "PERRON_FAILPOINTS", "PERRON_TEST_DATABASE_URL"}


def nearest_variable(name: str) -> str:
    """Return ` Did you mean …?` with the variables of settings, or an empty string when none is near."""
    known = [ENV_PREFIX + field.upper() for field in PlatformSettings.model_fields]
    return nearest(name, known, cutoff=0.6, prefix=ENV_PREFIX)


def names_in(text: str) -> list[str]:
    """Return the names in a setting that is a list, as in "a, b"."""
    return [part.strip() for part in text.split(",") if part.strip()]


def unknown_variables() -> list[str]:
    """Return the `PERRON_*` variables of the environment that name no setting.

    Those of agents and integrations (`PERRON_AGENT_TRIAGE__REFUND_LIMIT_CENTS`) are checked where their fields
    are known.
    """
    known = {ENV_PREFIX + name.upper() for name in PlatformSettings.model_fields} | _OTHER_VARIABLES
    ours = [name for name in os.environ if name.startswith(ENV_PREFIX) and not name.startswith(CONNECTION_PREFIX)]
    return sorted(name for name in ours if name not in known and not _DECLARED_VARIABLE.match(name))


BEFORE_DATABASE = frozenset(
    {
        *(
            "database_url",
            "database_direct_url",
            "database_schema",
            "langgraph_schema",
            "queue_schema",
            "database_timeout_s",
        ),
        *("answer_timeout_s", "pool_size", "max_overflow", "pool_recycle_s", "checkpoint_pool_size", "echo"),
        *("home", "tenant"),
        *("langgraph_json", "plugins", "plugins_deny", "plugin_timeout_s", "log_level", "log_json"),
        *("worker_agents", "worker_memory_mb"),
    }
)
"""Settings that are needed before the database is open: it cannot hold them."""
KEY_MATERIAL = frozenset({"key", "key_file", "webhook_secret"})
"""Settings that the database must not hold: it keeps settings in clear, beside what these protect."""

LOG_LEVELS: tuple[str, ...] = get_args(LogLevel)
