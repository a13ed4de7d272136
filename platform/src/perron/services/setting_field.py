"""Declared settings: every field of the platform, of the agents and of the integrations, by its name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from perron.configuration import PlatformSettings
from perron.errors import ConfigurationError, UnknownNameError
from perron.plugins.registry import Registry

Scope = Literal["platform", "agent", "integration"]


@dataclass(frozen=True, slots=True)
class SettingField:
    """One declared setting."""

    scope: Scope
    subject: str
    """The agent's name or the integration's key; empty for the platform."""
    key: str
    model: type[BaseModel]

    @property
    def name(self) -> str:
        """As people write it: `concurrency`, `agent.triage.refund_limit_cents`, `integration.desk.base_url`."""
        return f"{self.scope}.{self.subject}.{self.key}" if self.subject else self.key

    @property
    def info(self) -> FieldInfo:
        """Pydantic's description of the field."""
        return self.model.model_fields[self.key]

    @property
    def default(self) -> Any:
        """The declared default; None where there is none."""
        return None if self.info.is_required() else self.info.get_default(call_default_factory=True)

    @property
    def is_users(self) -> bool:
        """Whether users may set it for themselves: `Field(json_schema_extra={"user": True})`."""
        extra = self.info.json_schema_extra
        return isinstance(extra, Mapping) and extra.get("user") is True

    def read(self, text: str) -> Any:
        """Read a value that came as text: as it is where that fits the type, else as JSON."""
        try:
            self.parse(text)
        except ValidationError:
            try:
                return json.loads(text)
            except ValueError:
                return text  # the check of all values says what is wrong with it
        return text

    def parse(self, value: Any) -> Any:
        """Return a value as the field's type; raises pydantic's ValidationError."""
        adapter: TypeAdapter[Any] = TypeAdapter(cast("Any", Annotated[self.info.annotation, self.info]))
        return adapter.validate_python(value)

    def shown(self, value: Any) -> Any:
        """Return a value as JSON data for people: secrets as asterisks."""
        with contextlib.suppress(ValidationError):  # one that does not fit is shown as it is
            value = self.parse(value)
        return to_jsonable_python(value, fallback=str)

    def check(self, value: Any, others: Mapping[str, Any]) -> Any:
        """Return the value as it is stored.

        Args:
            others: The values that the other fields have: rules may look at several.

        Raises:
            ConfigurationError: It does not fit; the message says why.
        """
        try:
            checked = self.model.model_validate({**others, self.key: value}, by_name=True)
        except ValidationError as exc:
            for problem in exc.errors():
                if not problem["loc"] or problem["loc"][0] == self.key:
                    raise ConfigurationError(
                        f"The setting {self.name} does not fit: {problem['msg']}.", setting=self.name
                    ) from None
            return value  # what else is wrong is not about this value
        return checked.model_dump(mode="json")[self.key]


class SettingCatalogue:
    """All settings that there are in this process."""

    def __init__(self, registry: Registry) -> None:
        self._prefixes = [f"agent.{name}." for name in registry.agents]
        self._prefixes += [f"integration.{key}." for key in registry.integrations]
        self.models: dict[tuple[Scope, str], type[BaseModel]] = {("platform", ""): PlatformSettings}
        """By scope and subject."""
        for name, registered in registry.agents.items():
            if registered.agent is not None and registered.agent.settings is not None:
                self.models["agent", name] = registered.agent.settings
        for key, integration in registry.integrations.items():
            self.models["integration", key] = integration.settings_type  # type: ignore[attr-defined]  # see Registry

    def __iter__(self) -> Iterator[SettingField]:
        for scope, subject in self.models:
            yield from self.of(scope, subject)

    def of(self, scope: Scope, subject: str) -> Iterator[SettingField]:
        """Yield the fields of the platform, an agent or an integration; none where it declares none."""
        model = self.models.get((scope, subject))
        for key in model.model_fields if model else ():
            assert model is not None
            yield SettingField(scope, subject, key, model)

    def get(self, name: str) -> SettingField:
        """Return a setting by its name.

        Raises:
            UnknownNameError: Nothing declares it; the message brings the nearest, of the same agent or integration
                where the name begins with one.
        """
        fields = {field.name: field for field in self}
        if name not in fields:
            prefix = next((each for each in self._prefixes if name.startswith(each)), "")
            known = [each for each in fields if each.startswith(prefix)]
            raise UnknownNameError("setting", name, known, prefix=prefix)
        return fields[name]
