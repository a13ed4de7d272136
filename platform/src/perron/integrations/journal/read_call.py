"""Reads as calls: recorded for people, and with `freeze` replayed like a write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from perron import clock, failpoints
from perron.database.encoding import dumps
from perron.errors import DefinitionError, IntegrationError
from perron.ids import CallId, new_id
from perron.integrations.exchange import ActiveCall, Exchange, Outgoing, Prepare, Transport
from perron.integrations.journal.call_site import CallSite
from perron.integrations.journal.journal_call import JournalCall
from perron.integrations.journal.ledger import ReadRows
from perron.integrations.journal.retrying_reader import RetryingReader
from perron.integrations.redact import redact_body
from perron.integrations.run.slot import UNREPLAYED
from perron.integrations.run.task_history import Place

T = TypeVar("T")


class ReadCall(JournalCall):
    """A call that changes nothing: made anew each time that its node runs."""

    is_waited_for = False  # a list may be read while its reader makes other calls

    def __init__(self, site: CallSite, place: Place) -> None:
        super().__init__(site)
        self.call_id = CallId(new_id())
        self.place = place
        self.reader = RetryingReader(site)

    @property
    def marker(self) -> str:
        """Reads carry none that matters."""
        return str(self.call_id)

    async def make(self, body: Callable[[ActiveCall], Awaitable[T]]) -> T:
        """Run the operation, then record what it read."""
        self.place.is_matched = True
        try:
            result = await body(self)
        except IntegrationError as exc:
            error = {"code": exc.code, "message": exc.message, "status": exc.status}
            await self._record("failed", error=error)
            raise
        await self._record("done", result=self.shown(result))
        return result

    async def read(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Read once more of what the operation needs. Errors: see `ActiveCall.read`."""
        slot = self.site.slot(f"#{self.place.ordinal}")
        return await self.reader.read(out, transport, prepare, slot=slot)

    async def send(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Refuse.

        Raises:
            DefinitionError: Always.
        """
        raise DefinitionError(
            f"{self.site.spec.key} is declared as a read and sends {out.method}: declare its effect."
        )

    async def _record(self, state: str, **values: Any) -> None:
        await self.site.ledger.record_read(self.rows(f"{UNREPLAYED}{self.call_id}", state, **values))

    def rows(self, place: str, state: str, **values: Any) -> ReadRows:
        """Return the call's rows when it is over."""
        call = {
            **self.site.call_row(self.call_id, self.site.slot(place), state),
            "finished_at": clock.now(),
            "result": None,
            "error": None,
            "sealed": None,
            **values,
        }
        return ReadRows(call, [{**row, "call_id": self.call_id} for row in self.reader.attempts])

    def shown(self, result: object) -> Any:
        """Return a result as people see it."""
        return redact_body(dumps(result).encode(), self.site.spec.redact)


class FrozenRead(ReadCall):
    """A read whose answers are recorded before they are used, so that a run that comes back sees the same."""

    is_waited_for = True

    def __init__(self, site: CallSite, place: Place) -> None:
        super().__init__(site, place)
        self._replayed: list[Exchange] | None = None
        self._answers: list[Exchange] = []

    async def make(self, body: Callable[[ActiveCall], Awaitable[T]]) -> T:
        """Run the operation over the recorded answers, or record them."""
        site = self.site
        history = await site.ledger.load(site.context, site.task, site.attempt)
        match = history.match(self.place, site.attempt.waiting())
        site.context.sealed_namespaces.add(site.task.checkpoint_ns)
        if match.row is not None and match.row.sealed is not None and not failpoints.hit("journal"):
            self._replayed = site.seal.open(match.row.sealed, match.row.call_id)
            return await body(self)
        result = await body(self)
        sealed = site.seal.seal(self._answers, self.call_id)
        rows = self.rows(match.slot, "done", result=self.shown(result), sealed=sealed)
        async with site.ledger.transaction(site.context) as repository:
            await repository.insert([rows.call] if rows.call else [], rows.attempts)
        return result

    async def read(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Return the next recorded answer, or read and keep it."""
        if self._replayed is not None:
            if not self._replayed:
                raise DefinitionError(f"{self.site.spec.key} reads more than it did when it was frozen.")
            return self._replayed.pop(0)
        answer = await super().read(out, transport, prepare=prepare)
        self._answers.append(answer)
        return answer
