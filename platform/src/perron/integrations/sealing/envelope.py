"""Sealing bytes: AES-256-GCM with the nonce in front."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from perron.errors import SealError

KEY_BYTES = 32
_NONCE_BYTES = 12


def new_data_key() -> bytes:
    """Return a random key for one row or thread."""
    return AESGCM.generate_key(KEY_BYTES * 8)


def seal(key: bytes, plain: bytes, *, identity: bytes) -> bytes:
    """Encrypt for one place: `identity` says which, and the same is needed to open it."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, identity)


def open_sealed(key: bytes, sealed: bytes, *, identity: bytes) -> bytes:
    """Decrypt.

    Raises:
        SealError: Another key, another place, or changed bytes.
    """
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], identity)
    except (InvalidTag, ValueError):
        raise SealError(
            "Something sealed cannot be opened: it was sealed with another key, or its row was moved or changed."
        ) from None
