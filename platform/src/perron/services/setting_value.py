"""Which value of a setting counts, and for a run all values together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from perron.caller import Caller
from perron.configuration import PlatformSettings
from perron.errors import ConfigurationError
from perron.services.setting_field import Scope, SettingCatalogue, SettingField
from perron.services.setting_source import outside

Stored = Mapping[tuple[str, str], Mapping[str, Any]]
"""What the database holds, by scope and subject: values by key."""


class SettingValues:
    """The values of one process: its arguments, environment and TOML, below what the database holds.

    Precedence: user > agent or integration > platform > environment > TOML > default. An argument of the
    platform's opener stands above the database: it was written for this process.
    """

    def __init__(self, catalogue: SettingCatalogue, settings: PlatformSettings, toml: Mapping[str, Any]) -> None:
        self.catalogue = catalogue
        self._settings = settings
        self._toml = toml

    def get(self, setting: SettingField, caller: Caller, stored: Stored) -> tuple[Any, str]:
        """Return the value that counts for a caller, unchecked, and its source, as `SettingView` names it."""
        if setting.scope == "platform" and self._is_argument(setting):
            return getattr(self._settings, setting.key), "argument"
        for for_user in (True, False):
            scope, subject, key = place(setting, caller, for_user=for_user)
            if key in (values := stored.get((scope, subject), {})):
                return values[key], scope
        value, source = outside(setting, self._toml)
        return (getattr(self._settings, setting.key) if setting.scope == "platform" else value), source

    def frozen(self, scope: Scope, subject: str, caller: Caller, stored: Stored) -> dict[str, Any]:
        """Return all values of an agent or an integration as JSON data, checked together.

        Raises:
            ConfigurationError: One does not fit, or an agent's setting without a default is not set.
        """
        model = self.catalogue.models.get((scope, subject))
        if model is None:
            return {}
        found = {field.key: self.get(field, caller, stored) for field in self.catalogue.of(scope, subject)}
        values = {key: value for key, (value, source) in found.items() if source not in ("default", "unset")}
        try:
            return model.model_validate(values, by_name=True).model_dump(mode="json")
        except ValidationError as exc:
            problems = exc.errors()
        missing = [str(problem["loc"][0]) for problem in problems if problem["type"] == "missing"]
        if len(missing) == len(problems) and scope == "integration":
            return values  # one that nobody has set up says so when it is called; the agent may never do that
        key = str((problems[0]["loc"] or ("",))[0])
        name = f"{scope}.{subject}.{key}".removesuffix(".")
        if key in missing:
            raise ConfigurationError(f"The setting {name} has no value: `perron settings set {name} VALUE`.")
        source = f" (from {found[key][1]})" if key in found else ""
        raise ConfigurationError(f"The setting {name}{source} does not fit: {problems[0]['msg']}.")

    def _is_argument(self, setting: SettingField) -> bool:
        """Whether no other source has the value that the platform was opened with."""
        value, source = outside(setting, self._toml)
        parsed = value if source == "default" else setting.parse(value)
        return bool(getattr(self._settings, setting.key) != parsed)


def place(setting: SettingField, caller: Caller, *, for_user: bool) -> tuple[str, str, str]:
    """Return scope, subject and key under which the database holds a setting."""
    if for_user:
        return "user", caller.principal, setting.name
    return setting.scope, setting.subject, setting.key
