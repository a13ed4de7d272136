"""Keys, seals, and where credentials come from."""

from __future__ import annotations

import base64
import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from perron.configuration import PlatformSettings
from perron.errors import ConfigurationError, SealError, UnknownNameError
from perron.integrations.api.api import Api
from perron.integrations.auth import Bearer
from perron.integrations.connections.configured import ConfiguredConnections, parse_credentials
from perron.integrations.connections.credentials import RowIdentity, open_credentials, seal_credentials
from perron.integrations.integration import Account, Integration
from perron.integrations.sealing.envelope import new_data_key, open_sealed, seal
from perron.integrations.sealing.key_ring import KeyRing

KEY = base64.b64encode(bytes(range(32))).decode()


class Settings(BaseModel):
    base_url: str = "https://shop.example"


class Login(BaseModel):
    user: str = "ann"
    password: SecretStr


class Shop(Integration[Settings, Login]):
    key, title = "shop", "Shop"
    auth = Bearer("password")

    async def check(self, api: Api) -> Account:
        return Account(id="1", label="Shop")


ROW = RowIdentity("default", "ann", "shop", "c-1")


def settings(tmp_path: Path, **values: Any) -> PlatformSettings:
    return PlatformSettings(home=tmp_path, **values)


def test_what_was_sealed_opens_in_its_row_only() -> None:
    ring = KeyRing(os.urandom(32))
    sealed = seal_credentials(ring, Login(password=SecretStr("canary")), ROW)

    assert open_credentials(ring, sealed, Login, ROW) == Login(password=SecretStr("canary"))
    assert b"canary" not in sealed.sealed + sealed.data_key
    for field in ("tenant", "owner", "integration", "connection_id"):
        with pytest.raises(SealError, match="moved or changed"):
            open_credentials(ring, sealed, Login, dataclasses.replace(ROW, **{field: "other"}))


def test_another_key_opens_nothing_and_says_so() -> None:
    sealed = seal_credentials(KeyRing(os.urandom(32)), Login(password=SecretStr("canary")), ROW)

    with pytest.raises(SealError, match="sealed with the key"):
        open_credentials(KeyRing(os.urandom(32)), sealed, Login, ROW)


def test_a_changed_byte_opens_nothing() -> None:
    key = new_data_key()
    sealed = bytearray(seal(key, b"plain", identity=b"row"))
    sealed[-1] ^= 1

    with pytest.raises(SealError):
        open_sealed(key, bytes(sealed), identity=b"row")
    with pytest.raises(SealError):
        open_sealed(key, b"short", identity=b"row")


def test_the_same_credentials_are_sealed_differently_each_time() -> None:
    ring = KeyRing(os.urandom(32))

    one, two = (seal_credentials(ring, Login(password=SecretStr("x")), ROW) for _ in range(2))

    assert one.sealed != two.sealed


def test_credentials_of_an_older_plugin_are_asked_for_again() -> None:
    class Newer(BaseModel):
        certificate: SecretStr

    ring = KeyRing(os.urandom(32))
    sealed = seal_credentials(ring, Login(password=SecretStr("canary")), ROW)

    with pytest.raises(SealError, match="add the connection again") as raised:
        open_credentials(ring, sealed, Newer, ROW)
    assert "canary" not in str(raised.value)


def test_a_fingerprint_depends_on_content_and_key() -> None:
    one, two = KeyRing(b"1" * 32), KeyRing(b"2" * 32)

    assert one.fingerprint(b"a") == KeyRing(b"1" * 32).fingerprint(b"a")
    assert len({one.fingerprint(b"a"), one.fingerprint(b"b"), two.fingerprint(b"a")}) == 3


def test_nothing_of_a_key_shows() -> None:
    ring = KeyRing(b"canary-canary-canary-canary-1234")

    assert "canary" not in repr(ring)
    assert ring.key_id != KeyRing(b"2" * 32).key_id


def test_a_key_comes_from_the_setting_or_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "kek"
    file.write_text(KEY + "\n")

    named = KeyRing.from_settings(settings(tmp_path, key=KEY), embedded=False)
    filed = KeyRing.from_settings(settings(tmp_path, key_file=file), embedded=False)

    assert named.key_id == filed.key_id == KeyRing(bytes(range(32))).key_id


def test_without_a_key_an_external_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="openssl rand -base64 32"):
        KeyRing.from_settings(settings(tmp_path), embedded=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["canary!", "Y2FuYXJ5", ""])
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(SealError) as raised:
        KeyRing.from_settings(settings(tmp_path, key=text), embedded=False)

    assert not text or text not in str(raised.value)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SealError, match="kek cannot be read"):
        KeyRing.from_settings(settings(tmp_path, key_file=tmp_path / "kek"), embedded=False)


def test_the_embedded_mode_makes_a_key_that_only_its_user_can_read(tmp_path: Path) -> None:
    home = tmp_path / "home"

    made = KeyRing.from_settings(settings(home), embedded=True)
    found = KeyRing.from_settings(settings(home), embedded=True)

    assert made.key_id == found.key_id
    assert [path.name for path in home.iterdir()] == ["key"]
    assert (home / "key").stat().st_mode & 0o777 == 0o600


def test_processes_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    rings: list[KeyRing] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        rings.append(KeyRing.from_settings(settings(tmp_path), embedded=True))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(rings) == 8
    assert len({ring.key_id for ring in rings}) == 1


@pytest.mark.parametrize(
    "text", ["s3cret", " s3cret\n", '{"password": "s3cret"}', '{"user": "ann", "password": "s3cret"}']
)
def test_the_environment_has_a_token_or_json(text: str) -> None:
    configured = ConfiguredConnections({"PERRON_CONNECTION_SHOP": text}, {})

    assert configured.find(Shop) == Login(password=SecretStr("s3cret"))


def test_toml_names_variables_for_secrets_and_has_the_rest() -> None:
    toml = {"connection": {"shop": {"user": "bob", "password_env": "SHOP_PASSWORD"}}}

    configured = ConfiguredConnections({"SHOP_PASSWORD": "s3cret"}, toml)

    assert configured.find(Shop) == Login(user="bob", password=SecretStr("s3cret"))


def test_no_configuration_is_no_connection() -> None:
    assert ConfiguredConnections({"PERRON_CONNECTION_SHOP": " "}, {}).find(Shop) is None


@pytest.mark.parametrize(
    ("table", "error", "sentence"),
    [
        ({"password": "canary"}, ConfigurationError, "write password_env"),
        ({"password_env": "SHOP_PASSWORD"}, ConfigurationError, "SHOP_PASSWORD, which is not set"),
        ({"pasword_env": "X"}, UnknownNameError, "Did you mean 'password'"),
        ({"user": "bob"}, ConfigurationError, "password: Field required"),
        ("canary", ConfigurationError, "has to be a table"),
    ],
)
def test_a_table_that_is_wrong_is_said_in_one_sentence(table: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence) as raised:
        ConfiguredConnections({}, {"connection": {"shop": table}}).find(Shop)

    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ['{"password": ["canary"]}', '{"canary"', '{"password": "x", "password": {"canary": 1}}']
)
def test_credentials_that_do_not_fit_are_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match="does not fit") as raised:
        parse_credentials(Login, text, where="PERRON_CONNECTION_SHOP")

    assert "canary" not in str(raised.value)


def test_a_bare_token_needs_a_single_field() -> None:
    class Two(BaseModel):
        key: SecretStr
        secret: SecretStr

    with pytest.raises(ConfigurationError, match="has to be JSON with the fields key, secret"):
        parse_credentials(Two, "s3cret", where="X")
