"""Connections from configuration: one per integration, in the environment or named by `perron.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from perron.configuration import CONNECTION_PREFIX
from perron.errors import ConfigurationError, UnknownNameError
from perron.integrations.api.answer import explain
from perron.integrations.integration import Integration

_SUFFIX = "_env"


class ConfiguredConnections:
    """`PERRON_CONNECTION_DESK=<token or JSON>`, or `token_env = "DESK_TOKEN"` under `[connection.desk]`."""

    def __init__(self, environment: Mapping[str, str], toml: Mapping[str, Any]) -> None:
        """Take the environment and the content of `perron.toml`."""
        self._environment = environment
        self._tables: Mapping[str, Any] = toml.get("connection", {})

    def find(self, integration: type[Integration[Any, Any]]) -> BaseModel | None:
        """Return an integration's credentials, or None when configuration has none.

        Raises:
            ConfigurationError: What is there does not fit; the message does not show it.
        """
        model = integration.credentials_type
        if model is None:
            return None
        variable = CONNECTION_PREFIX + integration.key.upper()
        text = self._environment.get(variable, "")
        if text.strip():
            return parse_credentials(model, text, where=variable)
        table = self._tables.get(integration.key)
        return None if table is None else self._from_table(integration.key, model, table)

    def _from_table(self, key: str, model: type[BaseModel], table: Any) -> BaseModel:
        where = f"[connection.{key}]"
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"{where} has to be a table.")
        values: dict[str, Any] = {}
        for name, value in table.items():
            field = name.removesuffix(_SUFFIX) if name not in model.model_fields else name
            if field not in model.model_fields:
                raise UnknownNameError(f"field of {where}", name, model.model_fields)
            if field == name and model.model_fields[field].annotation is SecretStr:
                raise ConfigurationError(f"{where}: {name} is a secret; write {name}_env and name a variable.")
            values[field] = value if field == name else self._variable(str(value), where=f"{where} {name}")
        return _validate(model, values, where=where)

    def _variable(self, name: str, *, where: str) -> str:
        if not self._environment.get(name, "").strip():
            raise ConfigurationError(f"{where} names the environment variable {name}, which is not set.")
        return self._environment[name].strip()


def parse_credentials(model: type[BaseModel], text: str, *, where: str) -> BaseModel:
    """Read credentials from JSON, or from a bare token where the model has a single field that is needed.

    Raises:
        ConfigurationError: They do not fit; the message does not show them.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            return model.model_validate_json(text)
        except ValidationError as exc:
            raise ConfigurationError(f"{where} does not fit: {explain(exc)}.") from None
    needed = [name for name, field in model.model_fields.items() if field.is_required()]
    if len(needed) != 1:
        raise ConfigurationError(f"{where} has to be JSON with the fields {', '.join(model.model_fields)}.")
    return _validate(model, {needed[0]: text}, where=where)


def _validate(model: type[BaseModel], values: Mapping[str, Any], *, where: str) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        raise ConfigurationError(f"{where} does not fit: {explain(exc)}.") from None
