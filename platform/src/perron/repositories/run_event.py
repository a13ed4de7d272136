"""SQL of run events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, bindparam, cast, delete, exists, func, select, true, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from perron.models.ended_stream import EndedStream
from perron.models.run import Run
from perron.models.run_event import RunEvent
from perron.repositories.base import BaseRepository, columns_of

APPEND = """
    SELECT {schema}.append_events(%b::uuid[], %b::int[], %b::int[], %b::text[], %b::text[], %b::text[]) AS lost
"""
"""Append events (columns run_id, epoch, n, event, namespace, payload as JSON text) on a psycopg connection.

Returns the holders (`<run id>/<epoch>`) that were left out: the run is not running under that epoch. See
revision 0003.
"""


class RunEventRepository(BaseRepository[RunEvent]):
    """Events of runs; who may see the run may see its events."""

    model = RunEvent

    async def insert_last(
        self, run_id: UUID, epoch: int, events: Sequence[tuple[str, str, Any]], *, after_n: int
    ) -> None:
        """Insert an epoch's last events, as (event, namespace, payload), behind number `after_n`.

        Without a fence: in a transaction that takes the run from its worker.
        """
        rows = [
            {
                "run_id": run_id,
                "epoch": epoch,
                "n": n,
                "n_first": n,
                "event": event,
                "namespace": namespace,
                "payload": payload,
            }
            for n, (event, namespace, payload) in enumerate(events, start=after_n + 1)
        ]
        await self.session.execute(insert(RunEvent), rows)

    async def get_after(
        self, run_id: UUID, *, epoch: int, n: int, limit: int = 500, limit_bytes: int = 1_000_000
    ) -> Sequence[RunEvent]:
        """Return a page of what comes after (epoch, n), in order: at least one row where there is one.

        The last row may begin `limit_bytes` of payloads, as JSON, later than the first.
        """
        given = {
            "tenant": self.caller.tenant,
            "owner": self.caller.principal,
            "run_id": run_id,
            "after_epoch": epoch,
            "after_n": n,
            "most": limit,
            "most_bytes": limit_bytes,
        }
        rows = await self.session.execute(_page(is_admin=self.caller.is_admin), given)
        return [RunEvent(**row) for row in rows.mappings()]

    async def find_last(self, run_id: UUID) -> tuple[int, int] | None:
        """Return where the newest event of a run stands, whoever's it is."""
        query = select(RunEvent.epoch, RunEvent.n).where(RunEvent.run_id == run_id)
        last = (
            await self.session.execute(query.order_by(RunEvent.epoch.desc(), RunEvent.n.desc()).limit(1))
        ).first()
        return None if last is None else (last.epoch, last.n)

    async def take_ended(self, *, resumable: bool, ended_for: timedelta, limit: int) -> Sequence[UUID]:
        """Take runs whose events are due to be deleted, or, of resumable streams, to be packed.

        They are this transaction's: it takes them out of the list by its commit, and none of them can be deleted
        until then. Runs that are gone, or being deleted, leave the list too: nothing is to be done for them.
        """
        due = (
            select(EndedStream.run_id)
            .where(
                EndedStream.is_resumable.is_(resumable), EndedStream.ended_at < func.clock_timestamp() - ended_for
            )
            .order_by(EndedStream.ended_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        statement = delete(EndedStream).where(EndedStream.run_id.in_(select(due.c.run_id)))
        statement = statement.execution_options(synchronize_session=False)
        taken = (await self.session.execute(statement.returning(EndedStream.run_id))).scalars().all()
        held = select(Run.run_id).where(Run.run_id.in_(taken))
        held = held.with_for_update(read=True, key_share=True, skip_locked=True)
        return (await self.session.execute(held)).scalars().all()

    async def delete_streamed(self, run_ids: Sequence[UUID], *, keep: Collection[str]) -> None:
        """Delete events of runs but for some kinds, and the last of each epoch: before it readers find the gap."""
        later = aliased(RunEvent)
        is_followed = exists().where(
            later.run_id == RunEvent.run_id, later.epoch == RunEvent.epoch, later.n > RunEvent.n
        )
        statement = delete(RunEvent).where(
            RunEvent.run_id.in_(run_ids), RunEvent.event.not_in(keep), is_followed.correlate(RunEvent)
        )
        await self.session.execute(statement.execution_options(synchronize_session=False))

    async def get_unpacked(
        self, run_id: UUID, *, event: str, after: tuple[int, int], limit: int
    ) -> Sequence[RunEvent]:
        """Return events of one kind, each in a row of its own, after (epoch, n) in order."""
        query = (
            select(RunEvent)
            .where(RunEvent.run_id == run_id, RunEvent.event == event, RunEvent.n_first == RunEvent.n)
            .where(tuple_(RunEvent.epoch, RunEvent.n) > tuple_(*after))
            .order_by(RunEvent.epoch, RunEvent.n)
            .limit(limit)
        )
        return (await self.session.execute(query)).scalars().all()

    async def delete_of_runs(self, run_ids: Sequence[UUID]) -> None:
        """Delete all events of runs, whoever's they are."""
        statement = delete(RunEvent).where(RunEvent.run_id.in_(run_ids))
        await self.session.execute(statement.execution_options(synchronize_session=False))

    async def replace(self, rows: Sequence[RunEvent]) -> None:
        """Insert packed rows in the place of those that they hold."""
        for row in rows:
            held = delete(RunEvent).where(
                RunEvent.run_id == row.run_id,
                RunEvent.epoch == row.epoch,
                RunEvent.n.between(row.n_first, row.n),
            )
            await self.session.execute(held.execution_options(synchronize_session=False))
        await self.session.execute(insert(RunEvent), [columns_of(row) for row in rows])

    async def delete_of(self, thread_ids: Sequence[UUID]) -> None:
        """Delete all events of the runs of threads, whoever's they are."""
        runs = select(Run.run_id).where(Run.thread_id.in_(thread_ids)).order_by(Run.run_id).with_for_update()
        # Locked first: a statement of its own then sees the rows of one who has just packed them.
        await self.delete_of_runs((await self.session.execute(runs)).scalars().all())


@cache
def _page(*, is_admin: bool) -> Select[Any]:
    """Make the query that every reader sends for every few events: to build it takes longer than to answer it."""
    events = RunEvent.__table__
    place = (events.c.epoch, events.c.n)
    size = func.coalesce(func.octet_length(cast(events.c.payload, Text)), 0)
    page = (
        select(events, (func.sum(size).over(order_by=place) - size).label("bytes_before"))
        .join(Run, Run.run_id == events.c.run_id)
        .where(Run.tenant == bindparam("tenant"), true() if is_admin else Run.owner == bindparam("owner"))
        .where(events.c.run_id == bindparam("run_id"))
        .where(tuple_(*place) > tuple_(bindparam("after_epoch"), bindparam("after_n")))
        .order_by(*place)
        .limit(bindparam("most"))
        .subquery()
    )
    columns = [page.c[column.name] for column in events.columns]
    return select(*columns).where(page.c.bytes_before < bindparam("most_bytes")).order_by(page.c.epoch, page.c.n)
