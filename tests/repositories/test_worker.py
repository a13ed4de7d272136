"""SQL of workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from perron import clock
from perron.caller import Caller
from perron.database.engine import Database
from perron.ids import WorkerId, new_id, process_of
from perron.models.worker import Worker
from perron.repositories.worker import WorkerRepository


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=2)
    yield database
    await database.close()


async def make_worker(database: Database, *, beat_age_s: float, lease_s: float = 10.0) -> WorkerId:
    worker_id = WorkerId(new_id())
    beat_at = clock.now() - timedelta(seconds=beat_age_s)
    async with database.begin() as session:
        session.add(Worker(worker_id=worker_id, host="here", pid=1, version="0", lease_s=lease_s, beat_at=beat_at))
    return worker_id


async def test_each_worker_lives_by_its_own_lease(database: Database) -> None:
    patient = await make_worker(database, beat_age_s=20, lease_s=60)
    hasty = await make_worker(database, beat_age_s=2, lease_s=1)

    async with database.begin() as session:
        workers = WorkerRepository(session, Caller.system())
        assert await workers.is_live(patient)
        assert not await workers.is_live(hasty)
        assert not await workers.is_live(new_id())
        liveness = {worker.worker_id: alive for worker, alive in await workers.get_all_with_liveness()}
    assert liveness == {patient: True, hasty: False}


async def test_only_connections_that_hold_rows_are_ended(database: Database, database_url: str) -> None:
    worker_id = await make_worker(database, beat_age_s=60)
    name = f"perron {process_of(worker_id)}"

    with (
        psycopg.connect(database_url, application_name="perron other") as other,
        psycopg.connect(database_url, application_name=name) as reading,
    ):
        holding = psycopg.connect(database_url, application_name=name)
        for connection in (holding, other):
            connection.execute("SELECT 1 FROM perron.workers FOR SHARE")
        reading.execute("SELECT 1 FROM perron.workers")
        async with database.begin() as session:
            ended = await WorkerRepository(session, Caller.system()).terminate_backends(worker_id)

        assert ended == 1
        assert reading.execute("SELECT 1").fetchone() == other.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            holding.execute("SELECT 1")
        holding.close()
