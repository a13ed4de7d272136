"""Opening a platform: from settings to a running worker, in order; closing is the reverse."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from perron.caller import Caller
from perron.configuration import PlatformSettings, read_toml
from perron.core.logs import keep_values_out_of_tracebacks
from perron.core.upgrade import check_database, schemas_of, upgrade_database
from perron.database.budget import connection_shortage
from perron.database.checkpoint_pool import open_checkpoint_pool
from perron.database.embedded.server import EmbeddedServer
from perron.database.engine import Database
from perron.database.partitions import ensure_partitions
from perron.database.url import DatabaseUrl
from perron.ids import WorkerId, new_id, process_of
from perron.integrations.connections.configured import ConfiguredConnections
from perron.integrations.connections.connections import Connections
from perron.integrations.host import Integrations
from perron.integrations.journal.journal import Journal
from perron.integrations.run.pauses import Pauses
from perron.integrations.sealing.key_ring import KeyRing
from perron.plugins.agent import Agent
from perron.plugins.loader import load_plugins
from perron.plugins.registry import Registry
from perron.runtime.checkpoint_log import CheckpointLog
from perron.runtime.events import EventLog
from perron.runtime.execution import Services
from perron.runtime.readers import Announcer, Readers
from perron.runtime.store import GraphStore
from perron.services.setting import SettingService

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """What an open platform consists of."""

    shared: Services
    live_settings: SettingService
    """Made of the settings as they were given: `shared.settings` has the database's above them."""
    keys: KeyRing
    url: DatabaseUrl
    """Past a transaction pooler."""
    is_embedded: bool
    worker_id: WorkerId
    """The first one of a worker of this process. Connections carry what the later ones have in common with it, so
    that others can end them when the worker is dead."""


@asynccontextmanager
async def find_database(
    settings: PlatformSettings, *, on_event: Callable[[str], None] | None = None
) -> AsyncIterator[tuple[DatabaseUrl, bool]]:
    """Yield the database's URL, and whether it is the embedded server, which runs as long as the block."""
    if settings.database_url is not None:
        yield DatabaseUrl.parse(settings.database_url.get_secret_value()), False
        return
    async with EmbeddedServer.open(settings.home, on_event=on_event) as url:
        yield DatabaseUrl.parse(url), True


@asynccontextmanager
async def open_parts(
    settings: PlatformSettings, *, agents: Sequence[Agent] = (), on_event: Callable[[str], None] | None = None
) -> AsyncIterator[Opened]:
    """Open database, plugins and integrations; nothing executes yet."""
    keep_values_out_of_tracebacks()
    registry = await load_plugins(settings, agents=agents)
    async with find_database(settings, on_event=on_event) as (url, is_embedded):
        direct = settings.database_direct_url
        direct_url = DatabaseUrl.parse(direct.get_secret_value()) if direct else url
        if is_embedded:
            await upgrade_database(direct_url, **schemas_of(settings))
        else:
            await check_database(direct_url, **schemas_of(settings))
        async with _open_on(settings, registry, url, direct_url, is_embedded=is_embedded) as opened:
            yield opened


@asynccontextmanager
async def _open_on(
    settings: PlatformSettings, registry: Registry, url: DatabaseUrl, direct_url: DatabaseUrl, *, is_embedded: bool
) -> AsyncIterator[Opened]:
    worker_id = WorkerId(new_id())
    application_name = f"perron {process_of(worker_id)}"
    database = Database(
        url,
        schema=settings.database_schema,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_recycle_s=settings.pool_recycle_s,
        echo=settings.echo,
        connect_timeout_s=settings.database_timeout_s,
        answer_timeout_s=settings.answer_timeout_s,
        application_name=application_name,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        async with database.begin() as session:
            await ensure_partitions(session)
        # What operators have set in the database stands above environment and file from here on.
        stored = SettingService(database, settings, registry)
        settings = await stored.platform(Caller.system(settings.tenant))
        pools = {
            "our tables": database.max_connections,
            "LangGraph": settings.checkpoint_pool_size,
            "beat, queue and news": 3,
        }
        if shortage := await connection_shortage(database, pools):
            log.warning("connection_shortage", advice=shortage)
        pool = await open_checkpoint_pool(
            direct_url,
            schema=settings.langgraph_schema,
            max_size=settings.checkpoint_pool_size,
            connect_timeout_s=settings.database_timeout_s,
            answer_timeout_s=settings.answer_timeout_s,
            application_name=application_name,
        )
        stack.push_async_callback(pool.close)
        store = GraphStore(pool)
        stack.push_async_callback(store.close)
        keys = KeyRing.from_settings(settings, embedded=is_embedded)
        connections = Connections(database, keys, ConfiguredConnections(os.environ, read_toml()))
        versions = {key: source.version for key, source in registry.integration_sources.items()}
        integrations = Integrations(connections, versions=versions)
        stack.push_async_callback(integrations.close)
        journal = Journal(database, keys)
        stack.push_async_callback(journal.close)
        announcer = Announcer(pool, direct_url, schema=settings.database_schema, application_name=application_name)
        stack.push_async_callback(announcer.close)
        readers = Readers(announcer)
        events = EventLog(pool, readers, schema=settings.database_schema)
        stack.push_async_callback(events.close)
        shared = Services(
            database=database,
            pool=pool,
            store=store,
            registry=registry,
            integrations=integrations,
            journal=journal,
            readers=readers,
            events=events,
            checkpoints=CheckpointLog(pool, schema=settings.database_schema),
            pauses=Pauses(database),
            settings=settings,
        )
        yield Opened(
            shared=shared,
            live_settings=stored,
            keys=keys,
            url=direct_url,
            is_embedded=is_embedded,
            worker_id=worker_id,
        )
