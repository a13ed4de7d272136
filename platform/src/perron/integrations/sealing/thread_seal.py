"""Sealed answers: the full response of a write, for its replay only, under a key of its thread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from perron.ids import ThreadId
from perron.integrations.exchange import Exchange
from perron.integrations.sealing.envelope import new_data_key, open_sealed, seal
from perron.integrations.sealing.key_ring import KeyRing
from perron.repositories.journal import JournalRepository


class ThreadSeal:
    """Seals and opens the answers of one thread. Deleting the thread's key is erasing them."""

    def __init__(self, data_key: bytes) -> None:
        self._data_key = data_key

    @classmethod
    async def load(cls, repository: JournalRepository, keys: KeyRing, thread_id: ThreadId) -> ThreadSeal:
        """Load the thread's key; the first use makes it.

        Raises:
            SealError: It was wrapped by another key-encryption key.
            ThreadNotFoundError: The thread was deleted.
        """
        identity = b"thread " + thread_id.bytes
        wrapped = await repository.get_data_key(thread_id)
        if wrapped is None:
            made = keys.wrap(new_data_key(), identity=identity)
            wrapped = await repository.set_data_key(thread_id, made)
        return cls(keys.unwrap(wrapped, identity=identity))

    def seal(self, answers: Sequence[Exchange], call_id: UUID) -> bytes:
        """Seal the answers of one call, in order: in another row they do not open."""
        head = json.dumps([[a.status, dict(a.headers), len(a.body)] for a in answers]).encode()
        plain = b"".join((len(head).to_bytes(4, "big"), head, *(a.body for a in answers)))
        return seal(self._data_key, plain, identity=b"call " + call_id.bytes)

    def open(self, sealed: bytes, call_id: UUID) -> list[Exchange]:
        """Open the answers of a call.

        Raises:
            SealError: Another thread's key, another call's row, or changed bytes.
        """
        plain = open_sealed(self._data_key, sealed, identity=b"call " + call_id.bytes)
        start = 4 + int.from_bytes(plain[:4], "big")
        answers = []
        for status, headers, size in json.loads(plain[4:start]):
            answers.append(Exchange(status, headers, plain[start : start + size]))
            start += size
        return answers
