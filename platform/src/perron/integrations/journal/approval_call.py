"""Approvals as calls: nothing is sent, and the person's decision is what is recorded and replayed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import ValidationError

from perron.database.encoding import dumps
from perron.errors import DefinitionError, Rejected
from perron.integrations.api.answer import explain
from perron.integrations.exchange import APPROVED, EDITED, ActiveCall, Exchange, Outgoing, Prepare, Transport
from perron.integrations.journal import question
from perron.integrations.journal.call_record import CallRecord
from perron.integrations.journal.call_site import CallSite
from perron.integrations.journal.journal_call import Asking, JournalCall
from perron.integrations.run.task_history import Place
from perron.repositories.recorded import Answer

T = TypeVar("T")


class ApprovalCall(JournalCall):
    """A decision of a person. Its answer is 204 for yes, or 200 with the arguments as they were edited."""

    def __init__(self, site: CallSite, place: Place) -> None:
        super().__init__(site)
        self._place = place
        self._decided: Exchange | None = None

    @property
    def marker(self) -> str:
        """Approvals carry none."""
        return ""

    async def make(self, body: Callable[[ActiveCall], Awaitable[T]]) -> T:
        """Find the decision, or ask for it.

        Raises:
            Asking: Nobody has decided.
            Rejected: A person said no.
        """
        site = self.site
        history = await site.ledger.load(site.context, site.task, site.attempt)
        match = history.match(self._place, site.attempt.waiting())
        row = match.row
        record = CallRecord(site, site.slot(match.slot), row)
        if row is not None and row.state == "aborted":
            raise Rejected(str((row.error or {}).get("message", "")), operation=site.spec.key)
        self._decided = record.open(row) if row is not None and row.state == "done" else None
        if self._decided is None:
            self._decided = await self._decide(record)
        return await body(self)

    async def send(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Return the decision; nothing is sent."""
        if self._decided is None:
            raise DefinitionError("An approval has no decision before it is made.")
        return self._decided

    async def read(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Refuse.

        Raises:
            DefinitionError: Always.
        """
        raise DefinitionError("An approval reads nothing.")

    async def _decide(self, record: CallRecord) -> Exchange:
        answer = await record.decision("approval") if record.exists else None
        problem = ""
        match answer.decision if answer is not None else None:
            case "approve":
                return await self._known(record, Exchange(APPROVED, {}, b""), answer)
            case "edit" if answer is not None:
                edited = dumps(answer.value).encode()
                try:
                    self.site.spec.output.validate_json(edited)
                except ValidationError as exc:
                    problem = f"the edited arguments do not fit: {explain(exc)}"
                else:
                    return await self._known(record, Exchange(EDITED, {}, edited), answer)
            case "reject" if answer is not None:
                reason = answer.value if isinstance(answer.value, str) and answer.value else "A person said no."
                await record.aborted(reason, answer=answer)
                raise Rejected(reason, operation=self.site.spec.key)
        await record.in_doubt(consumed=answer)
        shown = self.site.shown_arguments
        raise Asking(
            question.approval(
                record.slot,
                record.call_id,
                text=str(shown["question"]),
                arguments=shown["args"],
                answer_schema=question.result_schema(self.site.spec),
                problem=problem,
            )
        )

    @staticmethod
    async def _known(record: CallRecord, decided: Exchange, answer: Answer | None) -> Exchange:
        await record.known(decided, answer=answer)
        return decided
