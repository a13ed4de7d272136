"""Credentials of a connection as they lie in its row: sealed with a key of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import to_json

from perron.errors import SealError
from perron.integrations.api.answer import explain
from perron.integrations.sealing.envelope import new_data_key, open_sealed, seal
from perron.integrations.sealing.key_ring import KeyRing


@dataclass(frozen=True, slots=True)
class RowIdentity:
    """Which row sealed credentials belong to: in any other they cannot be opened."""

    tenant: str
    owner: str
    integration: str
    connection_id: str

    def __bytes__(self) -> bytes:
        parts = ("connection", self.tenant, self.owner, self.integration, self.connection_id)
        return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


@dataclass(frozen=True, slots=True)
class Sealed:
    """The columns of a row."""

    sealed: bytes
    data_key: bytes
    """Wrapped by the key-encryption key `key_id`."""
    key_id: str


def seal_credentials(ring: KeyRing, credentials: BaseModel, identity: RowIdentity) -> Sealed:
    """Seal credentials for one row."""
    data_key = new_data_key()
    plain = to_json(_reveal(credentials.model_dump()))
    return Sealed(
        sealed=seal(data_key, plain, identity=bytes(identity)),
        data_key=ring.wrap(data_key, identity=bytes(identity)),
        key_id=ring.key_id,
    )


def open_credentials(ring: KeyRing, sealed: Sealed, model: type[BaseModel], identity: RowIdentity) -> BaseModel:
    """Open a row's credentials.

    Raises:
        SealError: Another key, a moved row, or an older plugin's fields.
    """
    data_key = ring.unwrap(sealed.data_key, identity=bytes(identity), key_id=sealed.key_id)
    try:
        return model.model_validate_json(open_sealed(data_key, sealed.sealed, identity=bytes(identity)))
    except ValidationError as exc:
        raise SealError(
            f"The credentials of {identity.integration} do not fit its plugin any more ({explain(exc)}): "
            "add the connection again."
        ) from None


def _reveal(value: Any) -> Any:
    if isinstance(value, SecretStr | SecretBytes):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {name: _reveal(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_reveal(item) for item in value]
    return value
