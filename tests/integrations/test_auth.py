"""Credentials as headers."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, SecretStr

from perron.errors import AuthFailed, DefinitionError
from perron.integrations.auth import ApiKey, Auth, Basic, Bearer


class Login(BaseModel):
    user: str = "ann"
    password: SecretStr = SecretStr("pässword")
    key: SecretStr = SecretStr("k-1")
    plain: str = "p"


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        (Bearer("key"), {"Authorization": "Bearer k-1"}),
        (Basic("user", "password"), {"Authorization": "Basic YW5uOnDDpHNzd29yZA=="}),
        (ApiKey("key"), {"X-API-Key": "k-1"}),
        (ApiKey("key", header="Authorization", prefix="Token "), {"Authorization": "Token k-1"}),
    ],
)
def test_credentials_become_headers(auth: Auth, headers: dict[str, str]) -> None:
    assert auth.headers(Login()) == headers


def test_a_credential_that_would_break_a_header_is_refused_without_being_shown() -> None:
    with pytest.raises(AuthFailed) as raised:
        Bearer("key").headers(Login(key=SecretStr("canary\r\nHost: evil")))

    assert "canary" not in str(raised.value)


def test_a_field_that_the_credentials_lack_is_refused_at_definition() -> None:
    with pytest.raises(DefinitionError, match="takes the field 'token', which Login does not have"):
        Bearer("token").check(Login, where="The integration Desk")


def test_a_secret_that_would_be_printed_is_refused_at_definition() -> None:
    with pytest.raises(DefinitionError, match="declare it as SecretStr"):
        Bearer("plain").check(Login, where="The integration Desk")
