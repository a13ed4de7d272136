"""Worker processes on a schema of another release."""

from __future__ import annotations

import psycopg
from psycopg import sql
from tests.worker.hall import Hall

TABLES = ("runs", "threads", "run_events", "workers", "assistants", "agents", "asks", "calls")


async def test_processes_of_this_release_work_on_a_schema_that_the_next_one_has_expanded(
    hall: Hall, database_url: str
) -> None:
    worker = await hall.start_ready()
    await hall.platform.join(await hall.submit("before"))  # statements are prepared by now

    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for table in TABLES:
            name = sql.Identifier(table)
            await connection.execute(sql.SQL("ALTER TABLE perron.{} ADD COLUMN novelty text").format(name))
        await connection.execute("UPDATE perron.alembic_version SET version_num = '9999'")
    running = [await hall.platform.join(await hall.submit(f"after{i}")) for i in range(3)]
    async with hall.open_platform() as started:
        new = await started.run("work", {"name": "new", "ledger": str(hall.ledger)})

    assert {run.status for run in (*running, new)} == {"success"}
    assert set(hall.written().values()) == {1}
    assert {line["level"] for line in worker.lines()} == {"info"}
