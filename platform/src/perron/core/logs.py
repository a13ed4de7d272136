"""Logs of a program that uses the platform and has not configured any."""

from __future__ import annotations

import structlog


def keep_values_out_of_tracebacks() -> None:
    """Print tracebacks without the values of variables, unless the program has configured its logs.

    structlog's default shows them all: that takes seconds, in which no run goes on, and secrets are among them.
    """
    if structlog.is_configured():
        return
    for processor in structlog.get_config()["processors"]:
        if isinstance(processor, structlog.dev.ConsoleRenderer):
            processor.exception_formatter = structlog.dev.plain_traceback
