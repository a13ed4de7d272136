"""The key-encryption key: where it comes from, and what is derived from it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from perron.configuration import PlatformSettings
from perron.errors import SealError
from perron.integrations.sealing.envelope import KEY_BYTES, open_sealed, seal

KEY_FILE = "key"
_HOW = "Make one with `openssl rand -base64 32`, and set it as PERRON_KEY or put it into PERRON_KEY_FILE."


class KeyRing:
    """Wraps data keys and makes fingerprints. Holds secrets: its repr shows the key's id only."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SealError(f"The key has {len(key)} bytes instead of {KEY_BYTES}. {_HOW}")
        self._key = key
        self._wrapping = self.subkey("wrap")
        self._fingerprints = self.subkey("fingerprint")
        self.key_id = self.subkey("id").hex()[:16]
        """Says which key wrapped something, and nothing about the key."""

    @classmethod
    def from_settings(cls, settings: PlatformSettings, *, embedded: bool) -> Self:
        """Read `key` or `key_file`; with the embedded server, make `home/key` when there is none.

        Raises:
            SealError: There is no key, or it is not 32 bytes in base64.
        """
        if settings.key is not None:
            return cls(_decode(settings.key.get_secret_value(), where="PERRON_KEY"))
        if settings.key_file is not None:
            return cls(_read(settings.key_file))
        if not embedded:
            raise SealError(f"There is no key to seal credentials and answers with. {_HOW}")
        path = settings.home / KEY_FILE
        if not path.exists():
            _make(path)
        return cls(_read(path))

    def __repr__(self) -> str:
        return f"KeyRing(key_id={self.key_id!r})"

    def wrap(self, data_key: bytes, *, identity: bytes) -> bytes:
        """Seal a data key; `identity` is the row that it belongs to."""
        return seal(self._wrapping, data_key, identity=identity)

    def unwrap(self, wrapped: bytes, *, identity: bytes, key_id: str | None = None) -> bytes:
        """Open a data key.

        Raises:
            SealError: It was wrapped by another key, or belongs to another row.
        """
        if key_id is not None and key_id != self.key_id:
            raise SealError(
                f"The credentials were sealed with the key {key_id}, and this process has {self.key_id}: "
                "give it the other key, or add the connection again."
            )
        return open_sealed(self._wrapping, wrapped, identity=identity)

    def fingerprint(self, content: bytes) -> bytes:
        """Return an HMAC-SHA256: equal for equal content, and no help in guessing it without the key."""
        return hmac.digest(self._fingerprints, content, "sha256")

    def subkey(self, purpose: str) -> bytes:
        """Derive 32 bytes for one purpose. Source: HKDF, RFC 5869."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"perron {purpose}".encode()).derive(self._key)


def _read(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise SealError(f"The key file {path} cannot be read: {exc}. {_HOW}") from exc
    return _decode(text, where=str(path))


def _decode(text: str, *, where: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
    except (binascii.Error, ValueError):
        raise SealError(f"{where} is not base64. {_HOW}") from None


def _make(path: Path) -> None:
    """Write a random key that only we can read; of several processes at once one wins, and no reader sees half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{hashlib.sha256(os.urandom(16)).hexdigest()[:8]}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
