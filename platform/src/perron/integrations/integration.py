"""`Integration`: one API, declared by a plugin."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from perron.errors import ConfigurationError, DefinitionError
from perron.integrations.redact import parse_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perron.integrations.api.api import Api
    from perron.integrations.auth import Auth

S = TypeVar("S", bound=BaseModel)
C = TypeVar("C", bound="BaseModel | None")

_KEY = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Account:
    """Who a connection is at the API."""

    id: str
    label: str


class Integration(Generic[S, C]):
    """One API: `class Desk(Integration[Settings, Token])`.

    `Settings` is the operator's (where), `Token` a connection's credentials (who); `Integration[Settings, None]`
    is an API that needs none. Operations are methods under `@operation`.
    """

    key: ClassVar[str]
    """Its name in settings, connections and operations: `desk`."""
    title: ClassVar[str]
    auth: ClassVar[Auth | None] = None
    redact: ClassVar[tuple[str, ...]] = ()
    """JSONPaths over arguments and results whose values the journal does not show: `$.customer.email`."""
    settings_type: ClassVar[type[BaseModel]]
    credentials_type: ClassVar[type[BaseModel] | None]

    def __init__(self, settings: S) -> None:
        self.settings = settings

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        types = _type_arguments(cls)
        if types is not None:
            cls.settings_type, cls.credentials_type = types
        if not hasattr(cls, "key"):
            raise DefinitionError(f"The integration {cls.__name__} has no `key`.")
        _check(cls)

    @property
    def base_url(self) -> str:
        """The root that paths are appended to: the setting `base_url`, unless the class says otherwise."""
        return str(self.settings.base_url)  # type: ignore[attr-defined]  # checked at definition

    async def check(self, api: Api) -> Account:
        """Find out who we are there, by reading. Runs before a connection is saved."""
        return Account(id="", label=self.title)

    @classmethod
    def open(cls, values: Mapping[str, Any]) -> typing.Self:
        """Make one with the operator's settings.

        Raises:
            ConfigurationError: A setting is missing or does not fit.
        """
        try:
            opened = cls(typing.cast("S", cls.settings_type.model_validate(values)))
        except ValidationError as exc:
            problem = exc.errors()[0]
            name = ".".join(["integration", cls.key, *(str(part) for part in problem["loc"])])
            if problem["type"] == "missing":
                raise ConfigurationError(
                    f"The setting {name} has no value: `perron settings set {name} VALUE`."
                ) from None
            raise ConfigurationError(f"The setting {name} does not fit: {problem['msg']}.") from None
        if not opened.base_url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"The integration {cls.key} needs a base_url that begins with https:// or http://."
            )
        return opened


def _type_arguments(cls: type) -> tuple[type[BaseModel], type[BaseModel] | None] | None:
    for base in getattr(cls, "__orig_bases__", ()):
        if typing.get_origin(base) is Integration:
            settings, credentials = typing.get_args(base)
            return settings, None if credentials is type(None) else credentials
    return None


def _check(cls: type[Integration[Any, Any]]) -> None:
    where = f"The integration {cls.__name__}"
    if not isinstance(cls.key, str) or not _KEY.fullmatch(cls.key):
        raise DefinitionError(f"{where}: `key` is lower case letters, digits and underscores, not {cls.key!r}.")
    if not isinstance(getattr(cls, "title", None), str):
        raise DefinitionError(f"{where} has no `title`.")
    if not _is_model(getattr(cls, "settings_type", None)):
        raise DefinitionError(f"{where}: derive it from Integration[Settings, Token], both pydantic models.")
    if "base_url" not in cls.settings_type.model_fields and cls.base_url is Integration.base_url:
        raise DefinitionError(f"{where}: its settings need a field `base_url`.")
    _check_auth(cls, where)
    if isinstance(cls.redact, str):
        raise DefinitionError(f"{where}: `redact` is a tuple of paths.")
    for path in cls.redact:
        parse_path(path)


def _check_auth(cls: type[Integration[Any, Any]], where: str) -> None:
    if cls.credentials_type is None:
        if cls.auth is not None:
            raise DefinitionError(f"{where} has `auth` and no credentials: name their model in Integration[…].")
        return
    if not _is_model(cls.credentials_type):
        raise DefinitionError(f"{where}: derive it from Integration[Settings, Token], both pydantic models.")
    if cls.auth is None:
        raise DefinitionError(
            f"{where} has credentials and no `auth`: say how they are sent, as in Bearer('token')."
        )
    cls.auth.check(cls.credentials_type, where=where)
    if cls.check is Integration.check:
        raise DefinitionError(f"{where} has no `check`: it says who a connection is before that is saved.")


def _is_model(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)
