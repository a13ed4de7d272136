"""Settings from outside the database: environment and TOML, for agents and integrations."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from perron.configuration import ENV_PREFIX
from perron.errors import ConfigurationError, UnknownNameError, nearest
from perron.services.setting_field import Scope, SettingCatalogue, SettingField


def variable(field: SettingField) -> str:
    """Return the environment variable of a setting: `PERRON_AGENT_TRIAGE__REFUND_LIMIT_CENTS`."""
    if not field.subject:
        return ENV_PREFIX + field.key.upper()
    return f"{_prefix(field.scope, field.subject)}{field.key.upper()}"


def outside(field: SettingField, toml: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the value that counts while the database has none, unchecked, and its source.

    The source is `environment`, `toml`, `default`, or `unset` where there is no default either.
    """
    if (text := os.environ.get(variable(field))) is not None:
        return field.read(text), "environment"
    table = toml.get(field.scope, {}).get(field.subject, {}) if field.subject else toml
    if field.key in table:
        return table[field.key], "toml"
    if field.info.is_required():
        return None, "unset"
    return field.default, "default"


def check_sources(
    catalogue: SettingCatalogue, toml: Mapping[str, Any], subjects: Mapping[Scope, Collection[str]]
) -> None:
    """Refuse tables and keys in `perron.toml` that nobody declares; warn about such environment variables.

    Args:
        subjects: All agents and integrations that were found, loaded or not; a scope that is left out is not
            checked for unknown ones.

    Raises:
        ConfigurationError: A table is none.
        UnknownNameError: Nobody has the name.
    """
    scopes: tuple[Scope, ...] = ("agent", "integration")
    for scope in scopes:
        tables = toml.get(scope, {})
        if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
            raise ConfigurationError(f"In perron.toml, the settings of an {scope} are a table: [{scope}.NAME].")
        for subject, table in tables.items():
            if (scope, subject) not in catalogue.models:
                if scope in subjects and subject not in subjects[scope]:
                    raise UnknownNameError(scope, subject, subjects[scope])
                continue
            for key in table:
                catalogue.get(f"{scope}.{subject}.{key}")
    _warn_of_variables(catalogue)


def _warn_of_variables(catalogue: SettingCatalogue) -> None:
    known = {variable(field) for field in catalogue if field.subject}
    prefixes = tuple(_prefix(scope, subject) for scope, subject in catalogue.models if subject)
    for name in os.environ:
        if prefixes and name.startswith(prefixes) and name not in known:
            warnings.warn(
                f"The environment variable {name} is no setting of Perron.{nearest(name, known)}", stacklevel=4
            )


def _prefix(scope: Scope, subject: str) -> str:
    return f"{ENV_PREFIX}{scope.upper()}_{re.sub(r'[^A-Za-z0-9]', '_', subject).upper()}__"
