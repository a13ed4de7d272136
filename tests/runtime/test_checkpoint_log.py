"""What happens to the runs whose checkpoints are committed together."""

from __future__ import annotations

import asyncio

from langgraph.checkpoint.base import empty_checkpoint
from tests.proxy import Proxy
from tests.runtime.conftest import Rows

from perron.database.checkpoint_pool import open_checkpoint_pool
from perron.database.outage import is_outage
from perron.runtime.checkpoint_log import CheckpointLog
from perron.runtime.checkpointer import FencedSaver


async def put(saver: FencedSaver, thread_id: object) -> None:
    config = {"configurable": {"thread_id": str(thread_id), "checkpoint_ns": ""}}
    await saver.aput(config, empty_checkpoint(), {"source": "loop"}, {})  # type: ignore[arg-type]  # it is one


async def test_an_outage_fails_all_that_wait_at_once(rows: Rows, proxy: Proxy) -> None:
    pool = await open_checkpoint_pool(proxy.url, answer_timeout_s=0.3)
    log = CheckpointLog(pool, schema="perron")
    runs = [await rows.claimed() for _ in range(12)]
    savers = {run.thread_id: FencedSaver(pool, rows.fence(run), log) for run in runs}

    proxy.hang()
    results = await asyncio.gather(
        *(put(saver, thread) for thread, saver in savers.items()), return_exceptions=True
    )
    proxy.forget()

    assert all(isinstance(result, Exception) and is_outage(result) for result in results)
    # They have waited for one answer together, not for one each, one after the other.
    assert len({id(result) for result in results}) == 1
    await asyncio.gather(*(put(saver, thread) for thread, saver in savers.items()))
    await pool.close()
