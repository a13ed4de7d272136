"""Sealed answers: the full response of a write, for its replay only, under a key of its thread."""

from __future__ import annotations

import json
from uuid import UUID

from perron.database.engine import Database
from perron.errors import SealError
from perron.ids import ThreadId
from perron.integrations.envelope import new_data_key, open_sealed, seal
from perron.integrations.exchange import Exchange
from perron.integrations.keys import KeyRing
from perron.repositories.journal import JournalRepository


class ThreadSeal:
    """Seals and opens the answers of one thread. Deleting the thread's key is erasing them."""

    def __init__(self, data_key: bytes) -> None:
        self._data_key = data_key

    @classmethod
    async def open(cls, database: Database, keys: KeyRing, thread_id: ThreadId) -> ThreadSeal:
        """Load the thread's key; the first use makes it.

        Raises:
            SealError: It was wrapped by another key-encryption key.
            ThreadNotFoundError: The thread was deleted.
        """
        identity = b"thread " + thread_id.bytes
        async with database.begin() as session:
            repository = JournalRepository(session, schema=database.schema)
            wrapped = await repository.get_data_key(thread_id)
            if wrapped is None:
                made = keys.wrap(new_data_key(), identity=identity)
                wrapped = await repository.set_data_key(thread_id, made)
        return cls(keys.unwrap(wrapped, identity=identity))

    def seal(self, answer: Exchange, call_id: UUID) -> bytes:
        """Seal an answer for one call: in another row it does not open."""
        head = json.dumps({"status": answer.status, "headers": dict(answer.headers)}).encode()
        plain = len(head).to_bytes(4, "big") + head + answer.body
        return seal(self._data_key, plain, identity=b"call " + call_id.bytes)

    def open_answer(self, sealed: bytes, call_id: UUID) -> Exchange:
        """Open an answer.

        Raises:
            SealError: Another thread's key, another call's row, or changed bytes.
        """
        plain = open_sealed(self._data_key, sealed, identity=b"call " + call_id.bytes)
        size = int.from_bytes(plain[:4], "big")
        try:
            head = json.loads(plain[4 : 4 + size])
            return Exchange(head["status"], head["headers"], plain[4 + size :])
        except (ValueError, KeyError) as exc:
            raise SealError(f"The sealed answer of the call {call_id} is of a form that is not known.") from exc
