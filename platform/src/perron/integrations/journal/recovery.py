"""What is known of a write before it is sent: its recorded result, its doubts, and what people decided."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError

from perron import clock, failpoints
from perron.database.encoding import dumps
from perron.errors import Aborted, IntegrationError, PerronError, ReplayMismatch, SealError
from perron.ids import new_id
from perron.integrations.api.answer import explain
from perron.integrations.exchange import FOUND, Exchange
from perron.integrations.journal import question
from perron.integrations.journal.call_record import CallRecord
from perron.integrations.journal.call_site import CallSite
from perron.integrations.journal.journal_call import Asking, hold
from perron.integrations.journal.outcome import Kind, Step, next_step
from perron.integrations.repeat import LookUp, SameKey
from perron.integrations.run.slot import Slot
from perron.integrations.run.task_history import Match, Place
from perron.repositories.recorded import Answer, RecordedAttempt, RecordedCall

_POLL_S = 0.5
_GONE = "no answer was recorded before its process was gone"


class Recovery:
    """Finds the call in the journal and settles what earlier attempts left open."""

    def __init__(self, site: CallSite, place: Place | Slot) -> None:
        self.result: Exchange | None = None
        """The recorded answer; None when the call has to be sent."""
        self.is_doubtful = False
        """An earlier try may have arrived."""
        self._site = site
        self._place = place
        self._first_sent_s: float | None = None
        self._decision: Answer | None = None

    @property
    def is_within_ttl(self) -> bool:
        """Whether the API still knows the key under which the call was sent first."""
        if not isinstance(self._site.spec.repeat, SameKey) or self._first_sent_s is None:
            return True
        return clock.boot_s() - self._first_sent_s < self._site.spec.repeat.ttl_h * 3600

    def note_sent(self, at_s: float) -> None:
        """Remember when the call was sent first, in `clock.boot_s`."""
        if self._first_sent_s is None:
            self._first_sent_s = at_s

    def take_decision(self) -> Answer | None:
        """Return a person's "send", once: it is noted as applied together with the attempt."""
        decision, self._decision = self._decision, None
        return decision

    async def find(self) -> None:
        """Look the call up, wait for what may still be under way, apply what people decided.

        Raises:
            Asking: A person has to decide.
            Aborted: A person has decided against it.
            ReplayMismatch: The API refused the call's key for good.
        """
        if isinstance(self._place, Slot):
            row = await self._site.ledger.find_in_slot(self._site.context, self._place)
            await self._take(self._place, row)
            return
        site, place = self._site, self._place
        history = await site.ledger.load(site.context, site.task, site.attempt)
        if abandoned := site.attempt.take_abandoned(place):
            place.is_matched = True
            await self._take(abandoned, await self._site.ledger.find_in_slot(self._site.context, abandoned))
            return
        match = history.match(place, self._site.attempt.waiting())
        if failpoints.hit("journal"):
            match = Match(f"#{place.ordinal}!{new_id().hex}")
        slot = Slot(
            self._site.context.thread_id, self._site.task.task_id, place.tool_call_id, place.operation, match.slot
        )
        await self._take(slot, match.row, rival=match.rival)

    async def find_again(self) -> None:
        """Look again: another writer was faster."""
        row = await self._site.ledger.find_in_slot(self._site.context, self.record.slot)
        await self._take(self.record.slot, row)

    async def ask_outcome(self, problem: str, *, consumed: Answer | None = None) -> Exchange:
        """Ask a person what became of the call; return its result when that came in the meantime.

        Raises:
            Asking: Always else.
        """
        record = self.record
        if not await record.in_doubt(consumed=consumed):
            await self.find_again()
            if self.result is None:
                raise SealError(f"The call {record.call_id} changed while it was settled; run it again.")
            return self.result
        raise Asking(
            question.unknown_outcome(
                self._site.spec,
                record.slot,
                record.call_id,
                arguments=self._site.shown_arguments,
                sent_at=record.begun_at,
                problem=problem,
            )
        )

    async def look_up(self, problem: str) -> Exchange | None:
        """Search for what the call's marker names, twice, `settle_s` apart. None: it is not there.

        Raises:
            Asking: The search failed as well.
            Held: Where to search is paused.
        """
        settle_s = self._site.spec.repeat.settle_s if isinstance(self._site.spec.repeat, LookUp) else 0.0
        for turn in range(2):
            if turn:
                await asyncio.sleep(settle_s)
            try:
                found = await self._search()
            except (IntegrationError, PerronError) as exc:
                return await self.ask_outcome(f"{problem}, and the search for it failed: {exc}")
            if found is not None:
                if not await self.record.known(found):
                    await self.find_again()
                    return self.result
                return found
        self.is_doubtful = False
        return None

    async def _search(self) -> Exchange | None:
        patience = self._site.ledger.patience
        if self._site.spec.find is None:
            return None
        hold(self._site)  # a search that fails would become a question
        for turn in range(1, patience.tries):
            try:
                return await self._site.spec.find(self.record.marker)
            except IntegrationError:
                await asyncio.sleep(min(patience.backoff_s * 2 ** (turn - 1), patience.longest_wait_s))
        return await self._site.spec.find(self.record.marker)

    async def _take(self, slot: Slot, row: RecordedCall | None, *, rival: RecordedCall | None = None) -> None:
        self.record = CallRecord(self._site, slot, row)
        if row is None or row.is_question or row.state == "begun":
            if rival is not None:
                await self._choose(rival, is_same=False)
            elif (other := await self._elsewhere(slot)) is not None:
                await self._choose(other, is_same=True)
        elif row.state == "sent":
            await self._recover(row)
        elif row.state == "in_doubt":
            self.is_doubtful = True
            await self._decide()
        else:
            self._replay(row)

    def _replay(self, row: RecordedCall) -> None:
        key = self._site.spec.key
        if row.state == "aborted":
            raise Aborted(f"{key} was aborted by a person.", operation=key)
        if row.error is not None and row.error.get("code") == "replay_mismatch":
            raise _other_request(key)
        self.result = self.record.open(row)
        if self.result is None:
            raise SealError(
                f"{key} was done, and its recorded answer is gone: the call is neither repeated nor replayed. "
                f"See `perron calls show {row.call_id}`.",
                call_id=str(row.call_id),
            )

    async def _recover(self, row: RecordedCall) -> None:
        current, attempts = await self._silence(row)
        if current.state != "sent":
            await self._take(self.record.slot, current)
            return
        self.is_doubtful = any(_may_have_arrived(attempt) for attempt in attempts)
        if not self.is_doubtful:
            return
        self.note_sent(clock.boot_s() - max(attempt.age_s for attempt in attempts))
        step = next_step(
            self._site.spec, Kind.NO_ANSWER, may_repeat=True, is_doubtful=True, within_ttl=self.is_within_ttl
        )
        if step is Step.ASK or current.fingerprint != self._site.fingerprint:
            self.result = await self.ask_outcome(_GONE)
        elif step is Step.LOOK_UP:
            self.result = await self.look_up(_GONE)

    async def _silence(self, row: RecordedCall) -> tuple[RecordedCall, list[RecordedAttempt]]:
        """Wait until nothing of the call can be under way any more, by the database's clock, or it has ended."""
        settle_s = self._site.spec.repeat.settle_s if isinstance(self._site.spec.repeat, LookUp) else 0.0
        margin_s = self._site.ledger.patience.sent_window_s + settle_s
        while True:
            async with self._site.ledger.transaction() as repository:
                current = await repository.find(row.call_id) or row
                attempts = await repository.get_attempts(row.call_id)
            left_s = max((a.timeout_s + margin_s - a.age_s for a in attempts if a.outcome == "sent"), default=0.0)
            if current.state != "sent" or left_s <= 0:
                return current, attempts
            await asyncio.sleep(min(left_s, _POLL_S))

    async def _elsewhere(self, slot: Slot) -> RecordedCall | None:
        """Return the same write where this thread did not come from: a step left behind, another branch."""
        history = self._site.attempt.history
        if slot.is_keyed or history is None or failpoints.hit("journal"):
            return None
        key, fingerprint = self._site.spec.key, self._site.fingerprint
        if (row := history.left_behind(key, fingerprint, self._site.task.checkpoints)) is not None:
            return row
        if not self._site.context.is_branch:
            return None
        async with self._site.ledger.transaction() as repository:
            rows = await repository.find_same(
                self._site.context.thread_id, key, fingerprint, but_run=self._site.context.run_id
            )
        return next((row for row in reversed(rows) if row.may_have_acted), None)

    async def _choose(self, other: RecordedCall, *, is_same: bool) -> None:
        """Let a person choose between another write's result and sending this one."""
        record = self.record
        decided = await record.decision("mismatch")
        match decided.decision if decided is not None else None:
            case "send":
                self._decision = decided
                return
            case "abort" if decided is not None:
                await self._abort(decided)
            case "use_recorded" if decided is not None and (result := record.open(other)) is not None:
                await record.known(result, answer=decided)
                self.result = result
                return
        await record.in_doubt(consumed=decided)
        raise Asking(
            question.mismatch(
                self._site.spec,
                record.slot,
                record.call_id,
                arguments=self._site.shown_arguments,
                other=other,
                is_same=is_same,
            )
        )

    async def _decide(self) -> None:
        """Act on what a person decided about a call whose outcome nobody knows."""
        decided = await self.record.decision("unknown_outcome")
        match decided.decision if decided is not None else None:
            case "send":
                self._decision = decided
            case "abort" if decided is not None:
                await self._abort(decided)
            case "give_result" if decided is not None:
                await self._give(decided)
            case _:
                self.result = await self.ask_outcome("no answer came", consumed=decided)

    async def _give(self, decided: Answer) -> None:
        body = dumps(decided.value).encode()
        try:
            self._site.spec.output.validate_json(body)
        except ValidationError as exc:
            problem = f"no answer came; the result that was given does not fit: {explain(exc)}"
            self.result = await self.ask_outcome(problem, consumed=decided)
            return
        self.result = Exchange(200, {FOUND: "given"}, body)
        if not await self.record.known(self.result, answer=decided):
            await self.find_again()

    async def _abort(self, decided: Answer) -> None:
        if await self.record.aborted("A person aborted it.", answer=decided):
            raise Aborted(f"{self._site.spec.key} was aborted by a person.", operation=self._site.spec.key)
        await self.find_again()


def _may_have_arrived(attempt: RecordedAttempt) -> bool:
    if attempt.outcome == "answered":
        return attempt.status is not None and (attempt.status >= 500 or attempt.status == 408)
    return attempt.outcome in ("sent", "no_response")


def _other_request(key: str) -> ReplayMismatch:
    return ReplayMismatch(
        f"{key}: the API holds another request under this key, which may have been done: do not send it again.",
        operation=key,
        status=422,
    )


def settled(key: str, kind: Kind, answer: Exchange) -> Exchange:
    """Return a definite answer to the operation.

    Raises:
        ReplayMismatch: The API holds another request under the call's key.
    """
    if kind is Kind.OTHER_REQUEST:
        raise _other_request(key)
    return answer
