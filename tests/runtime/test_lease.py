"""The lease that a worker lives by."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from textwrap import dedent

import psycopg
import pytest
from tests.conftest import until
from tests.proxy import Proxy
from tests.runtime.conftest import Rows

from perron import clock
from perron.errors import LeaseLostError
from perron.ids import WorkerId
from perron.runtime.lease import Lease


def make_lease(
    worker_id: WorkerId,
    url: str,
    lost: list[bool],
    *,
    lease_s: float = 1.0,
    beat_s: float = 0.05,
    on_out: Callable[[], object] = lambda: None,
) -> Lease:
    return Lease(
        worker_id,
        url,
        schema="perron",
        lease_s=lease_s,
        beat_s=beat_s,
        on_lost=lambda: lost.append(True),
        on_out=on_out,
    )


def _none() -> list[bool]:
    return []


async def beat_at(rows: Rows) -> list[object]:
    async with rows.pool.connection() as connection:
        found = await (await connection.execute("SELECT beat_at FROM perron.workers")).fetchall()
    return [row["beat_at"] for row in found]


async def test_it_beats_and_is_held(rows: Rows, database_url: str) -> None:
    lease = make_lease(await rows.make_worker(beat_age_s=60), database_url, lost := _none())
    first = await beat_at(rows)

    lease.start(sent_at=clock.boot_s())
    while await beat_at(rows) == first:
        pass
    lease.check()
    lease.stop()

    assert lease.is_held
    assert lost == []


async def test_a_worker_whose_row_is_gone_is_lost_at_once(rows: Rows, database_url: str) -> None:
    lease = make_lease(await rows.make_worker(), database_url, lost := _none(), lease_s=60)
    lease.start(sent_at=clock.boot_s())
    async with rows.pool.connection() as connection:
        await connection.execute("DELETE FROM perron.workers")

    await until(lambda: bool(lost))

    assert lost == [True]
    with pytest.raises(LeaseLostError):
        lease.check()
    lease.stop()


async def test_a_beat_whose_connection_ends_takes_another(rows: Rows, database_url: str) -> None:
    lease = make_lease(await rows.make_worker(), database_url, lost := _none())
    lease.start(sent_at=clock.boot_s())
    ended = 0
    async with rows.pool.connection() as connection:
        while not ended:
            cursor = await connection.execute(
                "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity"
                " WHERE application_name LIKE 'perron beat%' AND datname = current_database()"
            )
            row = await cursor.fetchone()
            ended = row["n"] if row else 0
    before = await beat_at(rows)

    while await beat_at(rows) == before:
        pass

    lease.check()
    lease.stop()
    assert lost == []


async def test_without_a_database_it_runs_out(rows: Rows) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    lease = make_lease(await rows.make_worker(), nowhere, lost := _none(), lease_s=0.3)

    lease.start(sent_at=clock.boot_s())
    lease.check()
    await until(lambda: not lease.is_held)

    with pytest.raises(LeaseLostError, match="may start nothing"):
        lease.check()
    lease.stop()
    assert lost == []


async def test_it_ends_after_the_beat_was_sent_not_after_it_was_answered(rows: Rows, database_url: str) -> None:
    worker_id = await rows.make_worker()
    lease = make_lease(worker_id, database_url, [], lease_s=0.3)

    with psycopg.connect(database_url) as slow:
        slow.execute("SELECT 1 FROM perron.workers FOR UPDATE")  # the answer to the next beat waits for this
        lease.start(sent_at=clock.boot_s())
        await until(lambda: not lease.is_held)
        slow.rollback()
    await until(lambda: lease.is_held)
    lease.stop()


@pytest.mark.parametrize("is_silent", [True, False])
async def test_its_end_is_told_when_it_is_there_not_a_beat_later(
    rows: Rows, proxy: Proxy, is_silent: bool
) -> None:
    """Nodes that go on after it may meet themselves on another worker."""
    told_late_s: list[float] = []
    lease = make_lease(
        await rows.make_worker(),
        proxy.url,
        _none(),
        lease_s=4.0,
        beat_s=1.0,
        on_out=lambda: told_late_s.append(clock.boot_s() - lease._until),
    )
    sent_at = clock.boot_s()
    lease.start(sent_at=sent_at)
    await until(lambda: lease._until > sent_at + 4.0)  # connected, and one beat is answered

    if is_silent:
        proxy.hang()
    else:
        await proxy.close()
    await until(lambda: bool(told_late_s))

    assert told_late_s[0] < 0.3
    proxy.flow()
    await asyncio.to_thread(lease.stop)


_STOPPED = """
    import sys
    from uuid import UUID
    from perron import clock
    from perron.errors import LeaseLostError
    from perron.runtime.lease import Lease

    url, worker_id = sys.argv[1:]
    lease = Lease(UUID(worker_id), url, schema="perron", lease_s=1.0, beat_s=0.2, on_lost=lambda: None,
                  on_out=lambda: None)
    lease.start(sent_at=clock.boot_s())
    while not lease.is_held:
        pass
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        lease.check()
    except LeaseLostError:
        print("lost", flush=True)
    else:
        print("held", flush=True)
"""


async def test_a_process_that_was_stopped_has_no_lease_when_it_goes_on(rows: Rows, database_url: str) -> None:
    worker_id = await rows.make_worker()
    command = [sys.executable, "-c", dedent(_STOPPED), database_url, str(worker_id)]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"

    os.kill(process.pid, signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED)
    stopped_at = clock.boot_s()
    async with rows.pool.connection() as connection:
        await connection.execute("DELETE FROM perron.workers")  # another has taken over
    await until(lambda: clock.boot_s() > stopped_at + 1.0)
    process.stdin.write(b"go on\n")
    os.kill(process.pid, signal.SIGCONT)

    said, _ = await process.communicate()
    assert said == b"lost\n"
