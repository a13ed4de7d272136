"""SQL of the journal: what the calls of a run write and read while it executes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    LargeBinary,
    Row,
    Text,
    TextClause,
    Uuid,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from perron.database.encoding import dumps
from perron.database.outage import sqlstate
from perron.errors import LeaseLostError, ThreadNotFoundError
from perron.models.ask import Ask, AskAnswer
from perron.models.call import Call, CallAttempt
from perron.models.thread import Thread
from perron.repositories.recorded import Answer, Outcome, RecordedAttempt, RecordedCall

FENCED = "PN001"
"""SQLSTATE of the fence: the run has another epoch, or does not run any more."""

UNSETTLED = ("begun", "sent", "in_doubt")
"""States that a result may still change."""


class SlotTakenError(Exception):
    """Another writer made a call in this slot first."""


class JournalRepository:
    """Statements of the hot path, in Core. Not scoped to a caller: a run's thread is the scope."""

    def __init__(self, session: AsyncSession, *, schema: str) -> None:
        self._session = session
        self._schema = schema

    async def fence(self, runs: set[tuple[UUID, int]]) -> None:
        """Hold the epochs of runs until the commit. Always the first statement of a transaction.

        Raises:
            LeaseLostError: One of them has another epoch by now, or does not run any more.
        """
        in_order = sorted(runs)  # the same everywhere: no deadlocks
        try:
            await self._session.execute(
                _fence(self._schema),
                {"run_ids": [run_id for run_id, _ in in_order], "epochs": [epoch for _, epoch in in_order]},
            )
        except DBAPIError as exc:
            if sqlstate(exc) != FENCED:
                raise
            raise LeaseLostError(
                "The run belongs to another worker by now, or has ended.",
                run_ids=[str(run_id) for run_id, _ in in_order],
            ) from exc

    async def commit_without_waiting(self) -> None:
        """Let this transaction's commit not wait for the disk: what it holds may be lost with the server."""
        await self._session.execute(select(func.set_config("synchronous_commit", "off", True)))

    async def find_of_task(self, thread_id: UUID, task_id: str, node: str) -> list[RecordedCall]:
        """Return the calls of a task, and those that a person may have to know of before it makes the same.

        They are what other tasks of its node left behind, unapplied or in doubt, and those of runs that were
        rolled back, until the thread has made them again.
        """
        left_behind = and_(
            Call.node == node,
            Call.task_id != "",
            or_(Call.sealed.is_not(None), Call.state.in_(("sent", "in_doubt"))),
        )
        again = aliased(Call)
        done_again = exists().where(
            again.thread_id == thread_id,
            again.operation == Call.operation,
            again.fingerprint == Call.fingerprint,
            again.created_at > Call.created_at,
            again.state.in_(("sent", "done", "failed", "aborted")),
            ~again.slot.startswith("~"),
        )
        return await self._find(
            Call.thread_id == thread_id,
            or_(
                and_(Call.slot.startswith("#"), or_(Call.task_id == task_id, left_behind)),
                and_(Call.slot.startswith("~"), ~done_again),
            ),
        )

    async def find_in_slot(
        self, thread_id: UUID, task_id: str, tool_call_id: str, operation: str, slot: str
    ) -> RecordedCall | None:
        """Return the call of a slot."""
        rows = await self._find(
            Call.thread_id == thread_id,
            Call.task_id == task_id,
            Call.tool_call_id == tool_call_id,
            Call.operation == operation,
            Call.slot == slot,
        )
        return rows[0] if rows else None

    async def find_same(
        self, thread_id: UUID, operation: str, fingerprint: bytes, *, but_run: UUID
    ) -> list[RecordedCall]:
        """Return the thread's calls of an operation with the same arguments, by other runs."""
        return await self._find(
            Call.thread_id == thread_id,
            Call.operation == operation,
            Call.fingerprint == fingerprint,
            Call.run_id != but_run,
        )

    async def find(self, call_id: UUID) -> RecordedCall | None:
        """Return a call."""
        rows = await self._find(Call.call_id == call_id)
        return rows[0] if rows else None

    async def _find(self, *conditions: ColumnElement[bool]) -> list[RecordedCall]:
        query = select(*_RECORDED).where(*conditions).order_by(Call.created_at, Call.call_id)
        return [_recorded(row) for row in await self._session.execute(query)]

    async def get_attempts(self, call_id: UUID) -> list[RecordedAttempt]:
        """Return the attempts of a call, newest first; without the reads that its operation made."""
        age_s = func.extract("epoch", func.clock_timestamp() - CallAttempt.sent_at)
        query = (
            select(CallAttempt.attempt_id, CallAttempt.outcome, CallAttempt.status, CallAttempt.timeout_s, age_s)
            .where(CallAttempt.call_id == call_id, _IS_WRITE)
            .order_by(CallAttempt.sent_at.desc())
        )
        return [
            RecordedAttempt(row[0], row[1], row[2], row[3], float(row[4]))
            for row in await self._session.execute(query)
        ]

    async def insert(self, calls: Sequence[Mapping[str, Any]], attempts: Sequence[Mapping[str, Any]] = ()) -> None:
        """Insert calls and attempts; those without a `sent_at` are sent now, by the database's clock.

        Raises:
            SlotTakenError: One of the slots has its call.
        """
        try:
            if calls:
                await self._session.execute(insert(Call.__table__), list(calls))  # type: ignore[arg-type]  # a Table
            if attempts:
                statement = insert(CallAttempt.__table__)  # type: ignore[arg-type]  # a Table
                if "sent_at" not in attempts[0]:
                    statement = statement.values(sent_at=func.now())
                await self._session.execute(statement, list(attempts))
        except IntegrityError as exc:
            if sqlstate(exc) != "23505":
                raise
            raise SlotTakenError from exc

    async def update_unsettled(self, call_id: UUID, **values: Any) -> bool:
        """Change a call that has no result yet; say whether it had none."""
        statement = update(Call).where(Call.call_id == call_id, Call.state.in_(UNSETTLED)).values(**values)
        return (await self._session.execute(statement.returning(Call.call_id))).first() is not None

    async def close_attempts(self, call_id: UUID) -> None:
        """Give up waiting for attempts of which nothing was heard; their results still count when they come."""
        statement = update(CallAttempt).where(CallAttempt.call_id == call_id, CallAttempt.outcome == "sent")
        await self._session.execute(statement.values(outcome="no_response", finished_at=func.now()))

    async def find_answer(self, thread_id: UUID, interrupt_id: str, *, kind: str) -> Answer | None:
        """Return a person's newest answer that was not acted on yet."""
        query = (
            select(Ask.ask_id, AskAnswer.decision, AskAnswer.value)
            .join(AskAnswer, AskAnswer.ask_id == Ask.ask_id)
            .where(
                Ask.thread_id == thread_id,
                Ask.interrupt_id == interrupt_id,
                Ask.kind == kind,
                Ask.state == "answered",
            )
            .order_by(AskAnswer.created_at.desc())
            .limit(1)
        )
        row = (await self._session.execute(query)).first()
        return None if row is None else Answer(row[0], row[1], row[2])

    async def apply_answer(self, ask_id: UUID) -> None:
        """Note that a person's answer was acted on."""
        await self._session.execute(update(Ask).where(Ask.ask_id == ask_id).values(state="applied"))

    async def settle(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Record what became of attempts, whoever has the run by now.

        Returns:
            The calls that took their new state. A call that was settled before keeps what it has.
        """
        rows = await self._session.execute(
            _settle(self._schema),
            {
                "attempt_ids": [o.attempt_id for o in outcomes],
                "call_ids": [o.call_id for o in outcomes],
                "outcomes": [o.outcome for o in outcomes],
                "statuses": [o.status for o in outcomes],
                "bodies": [_json(o.response_body) for o in outcomes],
                "details": [None if o.detail is None else o.detail.replace("\0", "\ufffd") for o in outcomes],
                "states": [o.state for o in outcomes],
                "results": [_json(o.result) for o in outcomes],
                "errors": [_json(o.error) for o in outcomes],
                "sealed": [o.sealed for o in outcomes],
            },
        )
        return set(rows.scalars())

    async def get_data_key(self, thread_id: UUID) -> bytes | None:
        """Return the thread's wrapped data key.

        Raises:
            ThreadNotFoundError: It was deleted.
        """
        row = (await self._session.execute(select(Thread.data_key).where(Thread.thread_id == thread_id))).first()
        if row is None:
            raise ThreadNotFoundError(thread_id)
        wrapped: bytes | None = row[0]
        return wrapped

    async def set_data_key(self, thread_id: UUID, wrapped: bytes) -> bytes:
        """Give the thread its data key and return the one that it has then: somebody else's if that was first."""
        statement = update(Thread).where(Thread.thread_id == thread_id, Thread.data_key.is_(None))
        await self._session.execute(statement.values(data_key=wrapped, updated_at=Thread.updated_at))
        return await self.get_data_key(thread_id) or wrapped


_IS_WRITE = func.coalesce(CallAttempt.method, "").not_in(("GET", "HEAD"))
"""Not one of the reads that a write operation makes besides."""

_RECORDED = (
    Call.call_id,
    Call.run_id,
    Call.task_id,
    Call.tool_call_id,
    Call.operation,
    Call.slot,
    Call.node,
    Call.checkpoints,
    Call.fingerprint,
    Call.effect,
    Call.state,
    Call.idempotency_key,
    Call.error,
    Call.sealed,
    Call.created_at,
    exists().where(CallAttempt.call_id == Call.call_id, _IS_WRITE),
)


def _recorded(row: Row[Any]) -> RecordedCall:
    return RecordedCall(*row)  # type: ignore[call-arg]  # _RECORDED, in the order of the fields


def _json(value: Any) -> str | None:
    return None if value is None else dumps(value)


@cache
def _fence(schema: str) -> TextClause:
    return text(
        f"SELECT {schema}.fence(r.run_id, r.epoch) "  # noqa: S608  # a checked identifier
        "FROM unnest(:run_ids, :epochs) AS r (run_id, epoch)"
    ).bindparams(bindparam("run_ids", type_=ARRAY(Uuid())), bindparam("epochs", type_=ARRAY(Integer())))


@cache
def _settle(schema: str) -> TextClause:
    # One statement for any number of outcomes: at 32 calls at once they arrive many at a time. "Nothing was sent"
    # takes no call back while another attempt of it may have arrived.
    statement = text(f"""
        WITH settled AS (
            SELECT * FROM unnest(
                :attempt_ids, :call_ids, :outcomes, :statuses, :bodies, :details, :states, :results, :errors,
                :sealed
            ) AS s (attempt_id, call_id, outcome, status, body, detail, state, result, error, sealed)
        ), attempts AS (
            UPDATE {schema}.call_attempts AS a
            SET outcome = s.outcome, status = s.status, response_body = s.body::jsonb, error = s.detail,
                finished_at = now()
            FROM settled AS s WHERE a.attempt_id = s.attempt_id
        )
        UPDATE {schema}.calls AS c
        SET state = s.state, result = s.result::jsonb, error = s.error::jsonb, sealed = s.sealed,
            updated_at = now(), finished_at = CASE WHEN s.state IN ('done', 'failed') THEN now() END
        FROM settled AS s
        WHERE c.call_id = s.call_id AND s.state IS NOT NULL AND c.state IN ('begun', 'sent', 'in_doubt')
          AND (s.state <> 'begun' OR NOT EXISTS (
              SELECT FROM {schema}.call_attempts AS other
              WHERE other.call_id = s.call_id AND other.attempt_id <> s.attempt_id
                AND other.outcome IN ('sent', 'no_response')
          ))
        RETURNING c.call_id
    """)  # noqa: S608  # a checked identifier
    types: dict[str, Any] = {
        "attempt_ids": Uuid(),
        "call_ids": Uuid(),
        "statuses": Integer(),
        "sealed": LargeBinary(),
    }
    names = ("attempt_ids", "call_ids", "outcomes", "statuses", "bodies", "details", "states", "results", "errors")
    return statement.bindparams(
        *(bindparam(name, type_=ARRAY(types.get(name, Text()))) for name in (*names, "sealed"))
    )
