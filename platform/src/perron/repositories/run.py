"""SQL of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Insert,
    Select,
    Table,
    and_,
    bindparam,
    column,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased, joinedload, selectinload
from sqlalchemy.sql.selectable import TypedReturnsRows

from perron import clock, failpoints
from perron.database.engine import SCHEMA
from perron.errors import RunNotFoundError
from perron.ids import least_id
from perron.models.ask import Ask
from perron.models.run import ACTIVE, Run
from perron.models.thread import Thread
from perron.models.undo import KeptSeal, ReplacedWrite
from perron.repositories.base import BaseRepository, columns_of, older_than
from perron.repositories.pause import is_held
from perron.repositories.worker import lives

FINISH = """
    SELECT is_followed, CASE WHEN is_followed IS NOT FALSE THEN {schema}.ring(%(thread_id)s)::text END
    FROM (SELECT {schema}.finish_run(%(run_id)s, %(epoch)s, %(ending)s) AS is_followed OFFSET 0) AS finished
"""
"""End a run, `ending` as JSON text, and ring for the next one, on a psycopg connection of the runtime's.

`is_followed` is null where the run is not this epoch's any more, or was rolled back: there may be a next one.
"""


class RunRepository(BaseRepository[Run]):
    """Runs of a caller."""

    model = Run
    not_found = RunNotFoundError

    async def get_with_asks(self, run_id: UUID) -> Run:
        """Return the run with what waits for a person in it, and the answers."""
        query = self.select(joinedload(Run.asks).joinedload(Ask.answer)).where(Run.run_id == run_id)
        run = (await self.session.execute(query)).unique().scalar_one_or_none()
        if run is None:
            raise RunNotFoundError(str(run_id))
        return run

    async def find_by_idempotency_key(self, key: str) -> Run | None:
        """Return the run that the caller has created under this key, whoever's it is by now."""
        query = select(Run).where(
            Run.tenant == self.caller.tenant,
            Run.created_by == self.caller.principal,
            Run.idempotency_key == key,
        )
        return (await self.session.execute(query)).scalar_one_or_none()

    def matching(
        self, *, thread_id: UUID | None = None, status: str | None = None, graph_id: str | None = None
    ) -> Select[Run]:
        """Return the query for runs with their asks, newest first; for `status` see `RunFilter`."""
        query = self.select(selectinload(Run.asks))
        if thread_id is not None:
            query = query.where(Run.thread_id == thread_id)
        if status == "waiting":
            query = query.where(Run.status == "success", Run.asks.any(Ask.state == "open"))
        elif status is not None:
            query = query.where(Run.status == status)
        if graph_id is not None:
            query = query.where(Run.graph_id == graph_id)
        return query.order_by(Run.created_at.desc(), Run.run_id.desc())

    async def find_head_id(self, thread_id: UUID) -> UUID | None:
        """Return the head of the thread's line, whoever's it is: its first pending or running run."""
        query = select(Run.run_id).where(Run.thread_id == thread_id, Run.status.in_(ACTIVE)).order_by(Run.seq)
        return (await self.session.execute(query.limit(1))).scalar_one_or_none()

    async def lock_active(self, thread_id: UUID) -> Sequence[Run]:
        """Return the runs in a thread's line in its order, locked FOR NO KEY UPDATE; lock the thread first."""
        query = self.select().where(Run.thread_id == thread_id, Run.status.in_(ACTIVE)).order_by(Run.seq)
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
        return (await self.session.execute(query)).scalars().all()

    async def roll_back(self, run: Run, *, schema: str) -> None:
        """Delete a run that has not ended, with all that it wrote; lock its thread first. See revision 0006."""
        await self.session.flush()
        statement = text(f"SELECT {schema}.roll_back_run(:run_id, :epoch)")
        await self.session.execute(statement, {"run_id": run.run_id, "epoch": run.epoch})
        self.session.expunge(run)

    async def forget_replaced(self, run_id: UUID) -> None:
        """Delete what a run that has ended has kept for a rollback."""
        for kept in (ReplacedWrite, KeptSeal):
            await self.session.execute(delete(kept).where(kept.run_id == run_id))

    async def find_status(self, run_id: UUID) -> str | None:
        """Return the status of a run, whoever's it is; None when there is none."""
        return await self.session.scalar(select(Run.status).where(Run.run_id == run_id))

    async def find_due(self, *, agents: Sequence[str], limit: int) -> Sequence[tuple[UUID, UUID]]:
        """Return (run_id, thread_id) of heads that a worker with these agents may claim.

        They are pending, due and not paused.
        """
        earlier = aliased(Run)
        is_head = ~exists().where(
            earlier.thread_id == Run.thread_id, earlier.seq < Run.seq, earlier.status.in_(ACTIVE)
        )
        is_due = or_(Run.not_before.is_(None), Run.not_before <= func.clock_timestamp())
        query = (
            select(Run.run_id, Run.thread_id)
            .where(Run.status == "pending", Run.graph_id.in_(agents), is_due, ~is_held())
            .order_by(Run.priority.desc(), Run.run_id)
            .limit(limit)
        )
        if not failpoints.hit("head"):
            query = query.where(is_head)
        return [(row.run_id, row.thread_id) for row in await self.session.execute(query)]

    async def find_stranded(self, *, agents: Sequence[str], limit: int) -> Sequence[tuple[UUID, UUID, int]]:
        """Return (run_id, thread_id, attempt) of runs that are running under a dead worker, and not paused.

        Those that the fewest have died with come first.
        """
        query = (
            select(Run.run_id, Run.thread_id, Run.attempt)
            .where(Run.status == "running", Run.graph_id.in_(agents), ~lives(Run.worker_id), ~is_held())
            .order_by(Run.attempt, Run.priority.desc(), Run.run_id)
            .limit(limit)
        )
        return [(row.run_id, row.thread_id, row.attempt) for row in await self.session.execute(query)]

    async def claim(
        self, run_id: UUID, thread_id: UUID, *, worker_id: UUID, at: datetime, rescues: bool
    ) -> tuple[Run, bool] | None:
        """Take a run, whoever's it is, for a worker; fails with SQLSTATE 55P03 when somebody holds its row.

        Returns:
            The run, now running, and whether a dead worker had it; None when it is not to be had. See revision
            0009.
        """
        values = {"thread_id": thread_id, "run_id": run_id, "worker_id": worker_id, "at": at, "rescues": rescues}
        row = (await self.session.execute(_claim(self._schema), values)).first()
        return None if row is None else (row[0], row[1])

    async def find_stopped(self, running: Sequence[tuple[UUID, int]]) -> Sequence[tuple[UUID, str | None]]:
        """Of runs that a worker executes, as (run_id, epoch): those that it has to stop.

        Returns:
            (run_id, cancel action); the action is None where the run is not its own any more.
        """
        epochs = dict(running)
        query = select(Run.run_id, Run.epoch, Run.status, Run.cancel_action).where(Run.run_id.in_(list(epochs)))
        found = {row.run_id: row for row in await self.session.execute(query)}
        stopped: list[tuple[UUID, str | None]] = []
        for run_id, epoch in epochs.items():
            row = found.get(run_id)
            if row is None or row.epoch != epoch or row.status != "running":
                stopped.append((run_id, None))
            elif row.cancel_action:
                stopped.append((run_id, row.cancel_action))
        return stopped

    async def insert(self, run: Run, *, new_thread: Thread | None, rings: bool = False) -> None:
        """Insert a run, and its thread if that is new, in one statement; neither becomes part of the session.

        With `rings` it is delivered to a worker, at the commit or when it is due: it is the head of its line.
        """
        columns = {"run": columns_of(run), "thread": {} if new_thread is None else columns_of(new_thread)}
        values = {f"{of}_{name}": value for of, row in columns.items() for name, value in row.items()}
        ringing = self._schema if rings else None
        statement = _insert(tuple(columns["run"]), tuple(columns["thread"]), ringing)
        await self.session.execute(statement, values)

    async def ring(self, thread_id: UUID) -> None:
        """Have the head of a thread's line delivered to a worker, if it is pending: at the commit, or when due."""
        await self.session.execute(text(f'SELECT "{self._schema}".ring(:thread_id)'), {"thread_id": thread_id})

    async def find_held(self, worker_id: UUID) -> Sequence[tuple[UUID, int]]:
        """Return (run_id, epoch) of all runs that are running under this worker."""
        query = select(Run.run_id, Run.epoch).where(Run.status == "running", Run.worker_id == worker_id)
        return [(row.run_id, row.epoch) for row in await self.session.execute(query)]

    async def get_of_worker(self, worker_id: UUID) -> Sequence[Run]:
        """Return what this worker executes, the longest under way first."""
        query = self.select().where(Run.status == "running", Run.worker_id == worker_id).order_by(Run.started_at)
        return (await self.session.execute(query)).scalars().all()

    async def end(self, run_id: UUID, *, epoch: int, **values: Any) -> bool:
        """Move a run that is `running` under this epoch to what `values` say; False when it is not."""
        statement = (
            update(Run)
            .where(Run.run_id == run_id, Run.epoch == epoch, Run.status == "running")
            .values(**values)
            .returning(Run.run_id)
            .execution_options(synchronize_session=False)
        )
        return (await self.session.execute(statement)).first() is not None

    async def has_since(self, first: UUID, end: UUID, *, age: timedelta) -> bool:
        """Say whether a run with an id from `first` up to before `end` has not ended, or not for so long."""
        is_recent = or_(Run.status.in_(ACTIVE), Run.finished_at > older_than(age))
        query = select(exists().where(Run.run_id >= first, Run.run_id < end, is_recent))
        return bool((await self.session.execute(query)).scalar_one())

    async def delete_ended(self, *, age: timedelta, limit: int) -> Sequence[UUID]:
        """Delete runs, whoever's they are, that ended so long ago, with their asks; return their ids.

        Those of a thread that waits for a person, or stands in the middle, stay; and so do those of one that
        failed when a person had answered: a retry finds the answer.
        """
        is_at_rest = exists().where(Thread.thread_id == Run.thread_id, Thread.status.in_(("idle", "error")))
        waits = exists().where(
            Ask.thread_id == Run.thread_id,
            Thread.thread_id == Ask.thread_id,
            or_(Ask.state == "open", and_(Ask.state == "answered", Thread.status != "idle")),
        )
        return await self.delete_some(
            Run.run_id < least_id(clock.now() - age),  # by the index: no run ends before its id is made
            Run.status.not_in(ACTIVE),
            Run.finished_at < older_than(age),
            is_at_rest,
            ~waits,
            limit=limit,
        )

    async def transfer(self, thread_id: UUID, *, to: str) -> None:
        """Make all runs of a thread another principal's."""
        await self.session.execute(update(Run).where(Run.thread_id == thread_id, *self.visible()).values(owner=to))

    @property
    def _schema(self) -> str:
        options = self.session.get_bind().get_execution_options()
        schema: str = (options.get("schema_translate_map") or {}).get(SCHEMA, SCHEMA)
        return schema


@cache
def _insert(
    columns: tuple[str, ...], thread_columns: tuple[str, ...], ringing: str | None
) -> Insert | Select[Any]:
    """Return the statement for these columns, made once: to make it takes longer than to send it.

    With `ringing`, the name of our schema, it hangs a bell for the run as well.
    """
    runs, threads = cast("Table", Run.__table__), cast("Table", Thread.__table__)
    statement = runs.insert().values({name: bindparam(f"run_{name}") for name in columns})
    if thread_columns:
        made = threads.insert().values({name: bindparam(f"thread_{name}") for name in thread_columns})
        statement = statement.add_cte(made.cte("made"))
    if ringing is None:
        return statement
    inserted = statement.returning(runs).cte("inserted")
    of_run = [inserted.c[name] for name in ("priority", "graph_id", "run_id", "thread_id", "not_before")]
    return select(getattr(func, ringing).hang(*of_run))


@cache
def _claim(schema: str) -> TypedReturnsRows[Run, bool]:
    columns, is_takeover = cast("Table", Run.__table__).columns, column("is_takeover", Boolean())
    named = ", ".join(f'(c.claimed)."{each.name}"' for each in columns)
    claimed = text(
        f'SELECT {named}, c.is_takeover FROM "{schema}".claim_run('  # noqa: S608  # checked identifiers
        ":thread_id, :run_id, :worker_id, :at, :rescues) AS c"
    )
    query = select(Run, is_takeover).from_statement(claimed.columns(*columns, is_takeover))
    return cast("TypedReturnsRows[Run, bool]", query)
