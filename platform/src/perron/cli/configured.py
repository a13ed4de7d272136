"""Settings as a command sees them."""

from __future__ import annotations

import sys
import warnings
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
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        settings = load_settings(langgraph_json=given.langgraph_json, log_level=log_level, **overrides)
    for warning in caught:
        sys.stderr.write(f"Warning: {warning.message}\n")
    configure_logs(settings)
    return settings
