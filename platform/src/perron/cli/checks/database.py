"""The database: reachable, of this release, and not behind a pooler that takes sessions away."""

from __future__ import annotations

from collections.abc import AsyncIterator

from perron.cli.checks.finding import Finding
from perron.configuration import PlatformSettings
from perron.core.upgrade import check_database, schemas_of
from perron.database.pooling import keeps_sessions
from perron.database.url import DatabaseUrl
from perron.errors import PerronError, SchemaError
from perron.services.health import Health

_CLOCK_S = 2.0
_FULL = 0.8


async def check_server(
    settings: PlatformSettings, url: DatabaseUrl, *, is_embedded: bool
) -> AsyncIterator[Finding]:
    """Yield whether the database can be reached and has this release's schema."""
    direct = settings.database_direct_url
    try:
        is_direct = await keeps_sessions(DatabaseUrl.parse(direct.get_secret_value()) if direct else url)
        where = "the embedded server" if is_embedded else url.shown
        yield Finding("database", "ok", f"PostgreSQL answers: {where}.")
    except PerronError as exc:
        yield Finding("database", "broken", exc.message, "Start it, or correct PERRON_DATABASE_URL.")
        return
    if not is_direct:
        yield Finding(
            "database",
            "broken",
            "LISTEN does not work: there is a transaction pooler in between, which loses advisory locks too.",
            "Set PERRON_DATABASE_DIRECT_URL to the database itself, past the pooler.",
        )
    try:
        installed = await check_database(url, **schemas_of(settings))
        text = "The schema is this release's."
        if installed.is_newer:
            text = (
                f"The schema is a newer release's (revision {installed.revision}), and this one can work with it."
            )
        yield Finding("database", "ok", text)
    except SchemaError as exc:
        if is_embedded:
            yield Finding("database", "note", "The schema is older; the next start upgrades the embedded server.")
        else:
            yield Finding("database", "broken", exc.message)


def check_health_of_database(health: Health) -> list[Finding]:
    """Return what the open platform knows of its database."""
    findings = [Finding("database", "ok", f"PostgreSQL {health.version}.")]
    if abs(health.clock_offset_s) > _CLOCK_S:
        findings.append(
            Finding(
                "database",
                "warning",
                f"This machine's clock is {health.clock_offset_s:+.1f} s off the database's.",
                "Let both follow a time server: ages and delays are told by these clocks.",
            )
        )
    if health.has_default_events:
        findings.append(
            Finding(
                "database",
                "warning",
                "Events lie in the default partition: the partitions of their weeks were not made in time.",
                "Keep one Platform open, or run `perron db upgrade` each week; then move these rows by hand.",
            )
        )
    text = f"{health.connections} of {health.max_connections} connections are in use."
    if health.connections > health.max_connections * _FULL:
        advice = "Raise max_connections, or lower pool_size, max_overflow and checkpoint_pool_size."
        findings.append(Finding("database", "warning", text, advice))
    else:
        findings.append(Finding("database", "ok", text))
    return findings
