"""A process that does nothing but execute runs, until it is told to stop."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import psutil
import structlog

from perron.core.platform import Platform
from perron.errors import WorkerOutgrownError
from perron.worker.health import serve_health

log = structlog.get_logger(__name__)

_LOOK_S = 1.0


async def work_until_stopped(platform: Platform, *, health: tuple[str, int] | None = None) -> None:
    """When the task is cancelled, close the platform, which drains: no run loses an attempt. Then return.

    Args:
        platform: Open, with a worker.
        health: Host and port of `/live`, `/ready` and `/metrics`; port 0 takes a free one, which is logged.

    Raises:
        ConfigurationError: The health address cannot be taken.
        WorkerOutgrownError: The process has grown beyond `worker_memory_mb`.
    """
    worker, limit_mb = platform.worker, platform.settings.worker_memory_mb
    with ExitStack() as stack:
        if health is not None:
            port = stack.enter_context(serve_health(worker, host=health[0], port=health[1]))
            log.info("health_served", host=health[0], port=port)
        log.info("worker_started", worker_id=str(worker.worker_id), agents=sorted(worker.agents))
        try:
            if limit_mb is None:
                await asyncio.Event().wait()
            else:
                raise WorkerOutgrownError(await _outgrown(limit_mb), limit_mb)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            log.info("worker_stopping", executing=worker.executing)
            await platform.close()  # here, so that probes see that it drains


async def _outgrown(limit_mb: int) -> int:
    """Return when this process's resident memory is above `limit_mb` megabytes, with what it is then."""
    process = psutil.Process()
    while (resident_mb := process.memory_info().rss // 1_000_000) <= limit_mb:  # noqa: ASYNC110  # nothing tells us
        await asyncio.sleep(_LOOK_S)
    return resident_mb
