"""Runs whose bells are gone, all at once: somebody has emptied the queue's table."""

from __future__ import annotations

from functools import partial
from uuid import UUID, uuid4

import psycopg
from tests.worker.hall import Hall, until

from perron.cli.checks.work import check_work

EMPTY = "TRUNCATE pgqueuer.pgqueuer"
IN_LINE = 3


async def test_runs_go_on_without_their_bells_and_the_doctor_says_what_is_stuck(
    hall: Hall, database_url: str
) -> None:
    accepted: dict[str, UUID] = {}

    async def put_in_line(thread: str, *, is_gated: bool = False) -> None:
        thread_id = uuid4()
        for i in range(IN_LINE):
            name = f"{thread}.{i}"
            accepted[name] = await hall.submit(
                name, is_gated=is_gated and i == 0, thread_id=thread_id, if_not_exists="create"
            )

    async def execute(statement: str) -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            await connection.execute(statement)

    async def found() -> list[str]:
        health = await hall.platform.health.get(hall.platform.caller)
        return [finding.text for finding in check_work(health, []) if finding.area == "runs"]

    await put_in_line("before")
    await execute("UPDATE perron.runs SET created_at = now() - interval '1 hour'")
    await execute(EMPTY)
    assert await found() == [
        "1 run is due for more than 60 s and not begun: no live worker has the agent work."
    ]  # of a thread only the first can begin

    await hall.start_ready()
    await put_in_line("during", is_gated=True)
    await until(partial(hall.is_written, "during.0 first"))
    await execute(EMPTY)
    hall.gate.touch()
    runs = [await hall.platform.join(run_id) for run_id in accepted.values()]

    assert {run.status for run in runs} == {"success"}
    assert set(hall.written().values()) == {1}
    assert await found() == ["No run is stuck."]
