"""The slot of a call: its place in its thread, the same each time that the code comes there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from perron.ids import ThreadId

THREAD_WIDE = ""
"""The task of a call with a key of the author's: the key is unique in the whole thread."""
KEPT = "*"
"""The namespace of such a call's sealed answer: no checkpoint clears it, the thread's deletion does."""

UNREPLAYED = "@"
"""Begins the place of a call that is never replayed."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Unique per call.

    `place` is `#<ordinal>` within task, tool call and operation, or `=<key>` for `.once(key)`. A call that stands
    where another one was recorded has `#<ordinal>/<n>`: one place of the code, tried with other arguments.
    """

    thread_id: ThreadId
    task_id: str
    tool_call_id: str
    operation: str
    place: str

    @property
    def is_keyed(self) -> bool:
        """Whether it is the slot of `.once(key)`."""
        return self.place.startswith("=")

    def namespace(self, checkpoint_ns: str) -> str:
        """Return the namespace whose next checkpoint clears the sealed answer."""
        return KEPT if self.is_keyed else checkpoint_ns

    @property
    def interrupt_id(self) -> str:
        """32 hex digits, as LangGraph's own interrupts have."""
        parts = (self.thread_id.hex, self.task_id, self.tool_call_id, self.operation, self.place)
        digest = hashlib.blake2b(digest_size=16, person=b"perron.slot")
        for part in parts:
            data = part.encode()
            digest.update(len(data).to_bytes(4, "big") + data)
        return digest.hexdigest()


def family(place: str) -> str:
    """Return the place of the code that a slot's place belongs to: `#1` of `#1/2`."""
    return place if place.startswith("=") else place.partition("/")[0]
