"""How a connection's credentials become request headers."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from typing import Any

from pydantic import BaseModel, SecretStr

from perron.errors import AuthFailed, DefinitionError


class Auth(ABC):
    """Turns the credentials of a connection into headers."""

    def __init__(self, *, public: tuple[str, ...] = (), secret: tuple[str, ...]) -> None:
        self._public = public
        self._secret = secret

    def check(self, credentials: type[BaseModel], *, where: str) -> None:
        """Refuse fields that the model lacks, and secrets that it would print.

        Raises:
            DefinitionError: The sentence names the field.
        """
        for name in (*self._public, *self._secret):
            if name not in credentials.model_fields:
                raise DefinitionError(
                    f"{where}: `auth` takes the field {name!r}, which {credentials.__name__} does not have."
                )
        for name in self._secret:
            if credentials.model_fields[name].annotation is not SecretStr:
                raise DefinitionError(
                    f"{where}: {credentials.__name__}.{name} is sent as a secret: declare it as SecretStr."
                )

    def headers(self, credentials: BaseModel) -> dict[str, str]:
        """Return the headers that say who we are.

        Raises:
            AuthFailed: A value cannot stand in a header; the message does not show it.
        """
        headers = self._headers(credentials)
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise AuthFailed("The connection's credentials hold characters that cannot be sent; add it again.")
        return headers

    @abstractmethod
    def _headers(self, credentials: BaseModel) -> dict[str, str]: ...


class Bearer(Auth):
    """`Authorization: Bearer <token>`, from a field of the credentials."""

    def __init__(self, token: str) -> None:
        super().__init__(secret=(token,))
        self._token = token

    def _headers(self, credentials: BaseModel) -> dict[str, str]:
        return {"Authorization": f"Bearer {_value(credentials, self._token)}"}


class Basic(Auth):
    """`Authorization: Basic …`, from two fields of the credentials. Source: RFC 7617."""

    def __init__(self, username: str, password: str) -> None:
        super().__init__(public=(username,), secret=(password,))
        self._username, self._password = username, password

    def _headers(self, credentials: BaseModel) -> dict[str, str]:
        pair = f"{_value(credentials, self._username)}:{_value(credentials, self._password)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


class ApiKey(Auth):
    """A header of the API's own, `X-API-Key` unless named, from a field of the credentials."""

    def __init__(self, key: str, *, header: str = "X-API-Key", prefix: str = "") -> None:
        super().__init__(secret=(key,))
        self._key, self._header, self._prefix = key, header, prefix

    def _headers(self, credentials: BaseModel) -> dict[str, str]:
        return {self._header: f"{self._prefix}{_value(credentials, self._key)}"}


def _value(credentials: BaseModel, field: str) -> str:
    value: Any = getattr(credentials, field)
    return str(value.get_secret_value()) if isinstance(value, SecretStr) else str(value)
