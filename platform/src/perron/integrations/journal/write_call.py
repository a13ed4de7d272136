"""A write: found in the journal, or sent once and recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from perron import clock, failpoints
from perron.errors import Aborted, AuthFailed, ConnectionNotFoundError, DefinitionError, LeaseLostError, Upstream
from perron.ids import AttemptId, new_id
from perron.integrations.exchange import (
    ActiveCall,
    Exchange,
    NoAnswer,
    NotSent,
    Outgoing,
    Prepare,
    Transport,
)
from perron.integrations.journal import question
from perron.integrations.journal.call_site import CallSite
from perron.integrations.journal.journal_call import Asking, JournalCall, hold
from perron.integrations.journal.ledger import ReadRows
from perron.integrations.journal.outcome import DOUBTFUL, Kind, Step, Try, classify, next_step
from perron.integrations.journal.recovery import Recovery, settled
from perron.integrations.journal.retrying_reader import RetryingReader
from perron.integrations.run.slot import Slot
from perron.integrations.run.task_history import Place
from perron.repositories.journal import SlotTakenError

T = TypeVar("T")

_GRACE_S = 0.2
"""A transport knows at its own deadline whether anything has left; this one is for those that have none."""
_SETTLING = frozenset({Kind.DONE, Kind.FAILED, Kind.OTHER_REQUEST})


class WriteCall(JournalCall):
    """A call whose effect must not happen twice: both `PendingCall` and `ActiveCall`."""

    def __init__(self, site: CallSite, place: Place | Slot) -> None:
        super().__init__(site)
        self._place = place
        self._recovery = Recovery(site, place)
        self._reader = RetryingReader(site)
        self._has_sent = False

    @property
    def marker(self) -> str:
        """What the API knows the call by: the same at every try."""
        return self._recovery.record.marker

    async def make(self, body: Callable[[ActiveCall], Awaitable[T]]) -> T:
        """Find out what is known of the call, then run the operation over that, or over what the API answers."""
        await self._recovery.find()
        try:
            return await body(self)
        except asyncio.CancelledError:
            if self._has_sent and isinstance(self._place, Place):
                self.site.attempt.abandon(self._place, self._recovery.record.slot)
            raise
        finally:
            if self._reader.attempts and self._recovery.record.exists:
                call_id = self._recovery.record.call_id
                rows = [{**row, "call_id": call_id} for row in self._reader.attempts]
                await self.site.ledger.record_read(ReadRows(None, rows))

    async def read(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Read what the operation needs besides. Made anew at each replay. Errors: see `ActiveCall.read`."""
        return await self._reader.read(out, transport, prepare, slot=self._recovery.record.slot)

    async def send(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Make the one write of the call, or return its recorded answer. Errors: see `ActiveCall.send`."""
        if self._has_sent:
            raise DefinitionError(
                f"{self.site.spec.key} sends a second write, {out.method} {out.path}: "
                "make it an operation of its own, so that each can be repeated safely."
            )
        self._has_sent = True
        if self._recovery.result is not None:
            return self._recovery.result
        if self.site.attempt.is_stopping:
            raise Asking(None)
        return await self._send(out, transport, prepare)

    async def _send(self, out: Outgoing, transport: Transport, prepare: Prepare | None) -> Exchange:
        recovery, patience = self._recovery, self.site.ledger.patience
        tries = 0
        while True:
            connection_id = None if prepare is None else await self._connect(prepare)
            hold(self.site, connection_id)
            tried: Try | None = None
            with contextlib.suppress(SlotTakenError):
                tried = await self.site.attempt.finish(self._try(out, transport, connection_id))
            if tried is None:  # the call has its result already, or another writer has its slot
                await recovery.find_again()
                if recovery.result is not None:
                    return recovery.result
                continue
            tries += 1
            step = next_step(
                self.site.spec,
                tried.kind,
                may_repeat=tries < patience.tries,
                is_doubtful=recovery.is_doubtful,
                within_ttl=recovery.is_within_ttl,
            )
            recovery.is_doubtful |= tried.kind in DOUBTFUL
            if step is Step.RETURN and tried.answer is not None:
                return settled(self.site.spec.key, tried.kind, tried.answer)
            if step is Step.GIVE_UP:
                raise Upstream(
                    f"{self.site.spec.key}: {out.host or 'the other side'} cannot be reached; nothing was sent.",
                    detail=f"{self.site.spec.key}: {tried.detail}",
                    operation=self.site.spec.key,
                )
            result: Exchange | None = None
            if step is Step.ASK:
                result = await recovery.ask_outcome(tried.detail)
            elif step is Step.LOOK_UP:
                result = await recovery.look_up(tried.detail)
            else:
                await asyncio.sleep(patience.wait_s(tries, asked_s=tried.wait_s))
            if result is not None:
                return result

    async def _try(self, out: Outgoing, transport: Transport, connection_id: UUID | None) -> Try | None:
        """Send once and record what came of it; None when the call was settled meanwhile."""
        record = self._recovery.record
        attempt_id = AttemptId(new_id())
        begun_s = clock.boot_s()
        self._check_lease()
        failpoints.hit("call.before_sent")
        if not await record.sent(
            attempt_id, out, connection_id=connection_id, decision=self._recovery.take_decision()
        ):
            return None
        self._recovery.note_sent(begun_s)
        failpoints.hit("call.after_sent")
        lost: LeaseLostError | None = None
        try:
            async with asyncio.timeout(out.timeout_s + _GRACE_S):
                answer = await transport(lambda: self._before_bytes(begun_s))
        except LeaseLostError as exc:
            tried, lost = Try(Kind.NOT_SENT, detail=exc.message), exc
        except NotSent as exc:
            tried = Try(Kind.NOT_SENT, detail=exc.detail)
        except NoAnswer as exc:
            tried = Try(Kind.NO_ANSWER, detail=exc.detail)
        except TimeoutError:
            tried = Try(Kind.NO_ANSWER, detail=f"no answer within {out.timeout_s:g} s")
        except Exception as exc:  # noqa: BLE001  # whatever a transport raises: it may have arrived
            tried = Try(Kind.NO_ANSWER, detail=f"{type(exc).__name__}: {exc}")
        else:
            tried = classify(self.site.spec, answer, is_doubtful=self._recovery.is_doubtful)
            failpoints.hit("call.after_answer")
        is_taken = await record.tried(attempt_id, tried, is_doubtful=self._recovery.is_doubtful)
        if lost is not None:
            raise lost
        failpoints.hit("call.after_done")
        return tried if is_taken or tried.kind not in _SETTLING else None

    async def _connect(self, prepare: Prepare) -> UUID | None:
        try:
            return await prepare()
        except (ConnectionNotFoundError, AuthFailed) as exc:
            record = self._recovery.record
            decided = await record.decision("connection")
            if decided is not None and decided.decision == "abort":
                await record.aborted("A person aborted it: there was no account to use.", answer=decided)
                raise Aborted(
                    f"{self.site.spec.key} was aborted by a person.", operation=self.site.spec.key
                ) from exc
            raise Asking(
                question.connection(
                    self.site.spec, record.slot, arguments=self.site.shown_arguments, problem=exc.message
                )
            ) from exc

    def _before_bytes(self, begun_s: float) -> None:
        if failpoints.hit("lease"):
            return
        self.site.context.check_lease()
        if clock.boot_s() - begun_s > self.site.ledger.patience.sent_window_s:
            raise NotSent("recording took too long, so it was begun anew")

    def _check_lease(self) -> None:
        if not failpoints.hit("lease"):
            self.site.context.check_lease()
