"""Declaring integrations: what is incomplete is refused when the class is made."""

from __future__ import annotations

import types
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from perron.errors import ConfigurationError, DefinitionError
from perron.integrations.api.api import Api
from perron.integrations.auth import Bearer
from perron.integrations.integration import Account, Integration


class Settings(BaseModel):
    base_url: str = "https://shop.example/api"
    retries: int = 3


class Token(BaseModel):
    token: SecretStr


async def check(self: Any, api: Api) -> Account:
    return Account(id="1", label="Shop")


def declare(base: Any = Integration[Settings, Token], **attributes: Any) -> type[Integration[Any, Any]]:
    """Make a class as an author writes it, with `attributes` changed; None takes one away."""
    named = {"key": "shop", "title": "Shop", "auth": Bearer("token"), "check": check, **attributes}
    namespace = {name: value for name, value in named.items() if value is not None or name == "auth"}
    return types.new_class("Shop", (base,), exec_body=lambda body: body.update(namespace))


def test_a_whole_declaration_is_accepted() -> None:
    shop = declare()

    assert (shop.key, shop.settings_type, shop.credentials_type) == ("shop", Settings, Token)


def test_an_integration_may_need_no_credentials() -> None:
    shop = declare(Integration[Settings, None], auth=None, check=None)

    assert shop.credentials_type is None


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"key": None}, "has no `key`"),
        ({"key": "My Shop"}, "lower case letters"),
        ({"title": None}, "has no `title`"),
        ({"auth": None}, "has credentials and no `auth`"),
        ({"auth": Bearer("key")}, "takes the field 'key'"),
        ({"check": None}, "has no `check`"),
        ({"redact": "$.email"}, "`redact` is a tuple"),
        ({"redact": ("email",)}, "is no path"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_sentence(attributes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence) as raised:
        declare(**attributes)

    assert "\n" not in raised.value.message


def test_settings_without_a_base_url_are_refused() -> None:
    class Nowhere(BaseModel):
        region: str = "eu"

    with pytest.raises(DefinitionError, match="field `base_url`"):
        declare(Integration[Nowhere, Token])


def test_a_class_may_derive_its_base_url_from_other_settings() -> None:
    class Region(BaseModel):
        region: str = "eu"

    shop = declare(
        Integration[Region, Token], base_url=property(lambda self: f"https://{self.settings.region}.example")
    )

    assert shop.open({"region": "us"}).base_url == "https://us.example"


def test_types_that_are_no_models_are_refused() -> None:
    with pytest.raises(DefinitionError, match="both pydantic models"):
        declare(Integration[Settings, str])  # type: ignore[type-var]  # what the test is about


def test_settings_become_the_declared_model() -> None:
    opened = declare().open({"base_url": "http://localhost:1"})

    assert opened.settings == Settings(base_url="http://localhost:1")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [({"retries": "many"}, "retries"), ({"base_url": "ftp://x"}, "begins with https:// or http://")],
)
def test_settings_that_do_not_fit_are_the_operators_to_mend(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        declare().open(values)
