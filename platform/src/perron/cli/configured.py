"""Settings as a command sees them."""

from __future__ import annotations

from typing import Any

from perron.cli.logs import configure_logs
from perron.cli.options import global_options
from perron.configuration import PlatformSettings, load_settings


def read_settings(**overrides: Any) -> PlatformSettings:
    """Read settings with the command line's own options above them, and set up the logs.

    `overrides` are single settings that a command's own options give.

    Raises:
        ConfigurationError: A setting does not fit.
    """
    given = global_options.get()
    log_level = "debug" if given.is_debug else None
    settings = load_settings(langgraph_json=given.langgraph_json, log_level=log_level, **overrides)
    configure_logs(settings)
    return settings
