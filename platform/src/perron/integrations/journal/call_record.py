"""The row of one write: every statement about it."""

from __future__ import annotations

from uuid import UUID

from perron import clock
from perron.ids import AttemptId, CallId, new_id
from perron.integrations.exchange import Exchange, Outgoing
from perron.integrations.journal.call_site import CallSite
from perron.integrations.journal.ledger import FirstSend
from perron.integrations.journal.outcome import DOUBTFUL, Kind, Try
from perron.integrations.redact import redact_body
from perron.integrations.run.slot import Slot
from perron.repositories.journal import JournalRepository
from perron.repositories.recorded import Answer, Outcome, RecordedCall

_DETAIL_CHARS = 500


class CallRecord:
    """One call as the database has it, or will have it."""

    def __init__(self, site: CallSite, slot: Slot, row: RecordedCall | None) -> None:
        self.slot = slot
        self.call_id = CallId(new_id() if row is None else row.call_id)
        self.begun_at = clock.now() if row is None else row.created_at
        self.exists = row is not None
        """Whether the database has the row."""
        self._site = site
        self._ledger = site.ledger
        self._spec = site.spec

    @property
    def marker(self) -> str:
        """What the API knows the call by."""
        return str(self.call_id)

    async def sent(
        self, attempt_id: AttemptId, out: Outgoing, *, connection_id: UUID | None, decision: Answer | None
    ) -> bool:
        """Commit that an attempt is about to leave, under the run's epoch. False: the call was settled meanwhile.

        Raises:
            LeaseLostError: This worker may not act for the run any more.
            SlotTakenError: Somebody else's call is in the slot.
        """
        attempt = self._site.attempt_row(self.call_id, attempt_id, out, outcome="sent")
        if not self.exists:
            call = {**self._site.call_row(self.call_id, self.slot, "sent"), "connection_id": connection_id}
            context = self._site.context
            await self._ledger.send_first(FirstSend(context.run_id, context.epoch, call, attempt))
            self.exists = True
            return True
        async with self._ledger.transaction(self._site.context) as repository:
            is_open = await repository.update_unsettled(
                self.call_id,
                state="sent",
                error=None,
                fingerprint=self._site.fingerprint,
                arguments=self._site.shown_arguments,
                connection_id=connection_id,
            )
            if is_open:
                await repository.close_attempts(self.call_id)
                await repository.insert([], [attempt])
                if decision is not None:
                    await repository.apply_answer(decision.ask_id)
        return is_open

    async def tried(self, attempt_id: AttemptId, tried: Try, *, is_doubtful: bool) -> bool:
        """Record what a try came to, under any epoch. False: the call keeps the result that it had."""
        answer, kind = tried.answer, tried.kind
        state, sealed, error = None, None, None
        if answer is not None and kind in (Kind.DONE, Kind.FAILED, Kind.OTHER_REQUEST):
            state = "done" if answer.status < 300 else "failed"
            sealed = self._seal(answer)
            if state == "failed":
                code = "replay_mismatch" if kind is Kind.OTHER_REQUEST else "refused"
                error = {"code": code, "message": tried.detail, "status": answer.status}
        elif kind not in DOUBTFUL and not is_doubtful:
            state = "begun"
            error = {"code": kind.name.lower(), "message": tried.detail[:_DETAIL_CHARS]}
        shown = None if answer is None else redact_body(answer.body, self._spec.redact)
        return await self._ledger.settle(
            Outcome(
                attempt_id=attempt_id,
                call_id=self.call_id,
                outcome=tried.outcome,
                status=None if answer is None else answer.status,
                response_body=shown,
                detail=None if state == "done" else tried.detail[:_DETAIL_CHARS],
                state=state,
                result=shown if state == "done" else None,
                error=error,
                sealed=sealed,
            )
        )

    async def known(self, result: Exchange, *, answer: Answer | None = None) -> bool:
        """Record a result that did not come as an answer: found, given by a person, or of another call."""
        async with self._ledger.transaction(self._site.context) as repository:
            is_open = await repository.update_unsettled(
                self.call_id,
                state="done",
                error=None,
                result=redact_body(result.body, self._spec.redact),
                sealed=self._seal(result),
                finished_at=clock.now(),
            )
            await self._close(repository, answer)
        return is_open

    async def in_doubt(self, *, consumed: Answer | None = None) -> bool:
        """Record that a person is asked. False: the call was settled meanwhile."""
        async with self._ledger.transaction(self._site.context) as repository:
            if self.exists:
                is_open = await repository.update_unsettled(self.call_id, state="in_doubt")
            else:
                await repository.insert([self._site.call_row(self.call_id, self.slot, "in_doubt")])
                self.exists = is_open = True
            await self._close(repository, consumed)
        return is_open

    async def aborted(self, reason: str, *, answer: Answer) -> bool:
        """Record that the call is not to be made. False: it was settled meanwhile."""
        error = {"code": "aborted", "message": reason}
        async with self._ledger.transaction(self._site.context) as repository:
            if self.exists:
                is_open = await repository.update_unsettled(
                    self.call_id, state="aborted", error=error, finished_at=clock.now()
                )
            else:
                row = {
                    **self._site.call_row(self.call_id, self.slot, "aborted"),
                    "error": error,
                    "finished_at": clock.now(),
                }
                await repository.insert([row])
                self.exists = is_open = True
            await self._close(repository, answer)
        return is_open

    async def decision(self, kind: str) -> Answer | None:
        """Return what a person decided about this call and nobody has acted on."""
        async with self._ledger.transaction() as repository:
            return await repository.find_answer(self.slot.thread_id, self.slot.interrupt_id, kind=kind)

    def open(self, row: RecordedCall) -> Exchange | None:
        """Return the sealed answer of this or another call; None when it is gone."""
        if row.sealed is None:
            return None
        self._note_sealed()
        return self._site.seal.open(row.sealed, row.call_id)[0]

    def _seal(self, answer: Exchange) -> bytes:
        self._note_sealed()
        return self._site.seal.seal([answer], self.call_id)

    def _note_sealed(self) -> None:
        # Also at a replay: the checkpoint that ends this superstep has to clear what an earlier process sealed.
        if not self.slot.is_keyed:
            self._site.context.sealed_namespaces.add(self._site.task.checkpoint_ns)

    async def _close(self, repository: JournalRepository, answer: Answer | None) -> None:
        await repository.close_attempts(self.call_id)
        if answer is not None:
            await repository.apply_answer(answer.ask_id)
