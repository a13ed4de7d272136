"""The journal: calls that are never silently made twice."""

from __future__ import annotations

from typing import Any

import orjson

from perron.database.encoding import clean
from perron.database.engine import Database
from perron.integrations.exchange import CallSpec, PendingCall
from perron.integrations.journal.approval_call import ApprovalCall
from perron.integrations.journal.call_site import CallSite
from perron.integrations.journal.journal_call import refuse_nesting
from perron.integrations.journal.ledger import Ledger, Patience
from perron.integrations.journal.read_call import FrozenRead, ReadCall
from perron.integrations.journal.write_call import WriteCall
from perron.integrations.run.context import current_run
from perron.integrations.run.slot import THREAD_WIDE, Slot
from perron.integrations.sealing.key_ring import KeyRing


class Journal:
    """One per platform. A call that was made is found by its slot, and its result is replayed.

    See docs/guarantees.md for what that promises, and what not.
    """

    def __init__(self, database: Database, keys: KeyRing, *, patience: Patience | None = None) -> None:
        self._ledger = Ledger(database, keys, patience or Patience())

    def begin(self, spec: CallSpec, arguments: dict[str, Any], *, once: str | None = None) -> PendingCall:
        """Take the place of a call in its run; synchronous, so that the order is the one of the author's code.

        Raises:
            OutsidePlatformError: There is no run.
            DefinitionError: The call is made inside another one's body.
        """
        context = current_run(spec.key)
        refuse_nesting(spec.key)
        task = context.locate()
        attempt = context.attempts.current(task.task_id, task.attempt, context.interrupt)
        fingerprint = self._ledger.keys.fingerprint(canonical(arguments))
        site = CallSite(self._ledger, context, task, attempt, spec, arguments, fingerprint)
        if once is not None and spec.effect != "read":
            return WriteCall(site, Slot(context.thread_id, THREAD_WIDE, "", spec.key, f"={once}"))
        place = attempt.place(task.tool_call_id, spec.key, fingerprint)
        if spec.is_approval:
            return ApprovalCall(site, place)
        if spec.effect == "read":
            return FrozenRead(site, place) if spec.freeze else ReadCall(site, place)
        return WriteCall(site, place)

    async def close(self) -> None:
        """Wait until everything is written."""
        await self._ledger.close()


def canonical(arguments: dict[str, Any]) -> bytes:
    """Return arguments as JSON that is equal for equal arguments."""
    return orjson.dumps(clean(arguments)[0], option=orjson.OPT_SORT_KEYS)
