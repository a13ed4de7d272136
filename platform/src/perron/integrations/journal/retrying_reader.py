"""Reading: tries that change nothing there, and what people see of them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from perron import clock
from perron.errors import Aborted, AuthFailed, ConnectionNotFoundError, Upstream
from perron.ids import AttemptId, CallId, new_id
from perron.integrations.exchange import Exchange, NoAnswer, NotSent, Outgoing, Prepare, Transport
from perron.integrations.journal import question
from perron.integrations.journal.call_site import CallSite
from perron.integrations.journal.journal_call import Asking, hold
from perron.integrations.journal.outcome import Kind, Step, Try, classify, step_of_read
from perron.integrations.redact import redact_body
from perron.integrations.run.slot import Slot


class RetryingReader:
    """The reads of one call: tried again when they fail, and kept until the call records them."""

    def __init__(self, site: CallSite) -> None:
        self.attempts: list[dict[str, Any]] = []
        """Rows without their call's id."""
        self._site = site
        self._ledger = site.ledger
        self._spec = site.spec

    async def read(self, out: Outgoing, transport: Transport, prepare: Prepare | None, *, slot: Slot) -> Exchange:
        """Read, with as many tries as it takes and `Patience` allows.

        Raises:
            Asking: There is no account to read with.
            Held: What it would read from is paused.
            Upstream: No answer after several tries.
        """
        patience = self._ledger.patience
        tries = 0
        while True:
            hold(self._site, None if prepare is None else await self._connect(prepare, slot))
            tried = await self._try(out, transport)
            tries += 1
            step = step_of_read(tried.kind, may_repeat=tries < patience.tries)
            if step is Step.RETURN and tried.answer is not None:
                return tried.answer
            if step is Step.GIVE_UP:
                raise Upstream(
                    f"{self._spec.key}: {out.host or 'the other side'} does not answer.",
                    detail=f"{self._spec.key}: {out.method} {out.host}{out.path}: {tried.detail}",
                    operation=self._spec.key,
                )
            await asyncio.sleep(patience.wait_s(tries, asked_s=tried.wait_s))

    async def _try(self, out: Outgoing, transport: Transport) -> Try:
        sent_at = clock.now()
        try:
            async with asyncio.timeout(out.timeout_s):
                answer = await transport(lambda: None)
        except NotSent as exc:
            tried = Try(Kind.NOT_SENT, detail=exc.detail)
        except NoAnswer as exc:
            tried = Try(Kind.NO_ANSWER, detail=exc.detail)
        except TimeoutError:
            tried = Try(Kind.NO_ANSWER, detail=f"no answer within {out.timeout_s:g} s")
        else:
            tried = classify(self._spec, answer, is_doubtful=False)
        self.attempts.append(self._row(out, tried, sent_at))
        return tried

    def _row(self, out: Outgoing, tried: Try, sent_at: datetime) -> dict[str, Any]:
        answer = tried.answer
        return {
            **self._site.attempt_row(CallId(new_id()), AttemptId(new_id()), out, outcome=tried.outcome),
            "status": None if answer is None else answer.status,
            "response_body": None if answer is None else redact_body(answer.body, self._spec.redact),
            "error": tried.detail if answer is None else None,
            "sent_at": sent_at,
            "finished_at": clock.now(),
        }

    async def _connect(self, prepare: Prepare, slot: Slot) -> UUID | None:
        try:
            return await prepare()
        except (ConnectionNotFoundError, AuthFailed) as exc:
            async with self._ledger.transaction() as repository:
                decided = await repository.find_answer(slot.thread_id, slot.interrupt_id, kind="connection")
            if decided is not None and decided.decision == "abort":
                raise Aborted(f"{self._spec.key} was aborted by a person.", operation=self._spec.key) from exc
            raise Asking(
                question.connection(self._spec, slot, arguments=self._site.shown_arguments, problem=exc.message)
            ) from exc
