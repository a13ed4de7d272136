"""Logs of the command line: readable on a terminal, JSON otherwise, always on stderr."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from perron.configuration import PlatformSettings
from perron.integrations.redact import redact
from perron.plugins.explain import explain

_LOUD = ("alembic", "asyncio", "httpcore", "httpx", "openai", "psycopg.pool", "urllib3")
"""Libraries that tell on `info` what concerns nobody here."""
_URL_PASSWORD = re.compile(r"(?<=://)([^:/@\s]+):[^@/\s]+@")


def configure_logs(settings: PlatformSettings) -> None:
    """Send structlog's and the standard library's logs through the same processors to stderr."""
    is_json = not sys.stderr.isatty() if settings.log_json is None else settings.log_json
    is_debug = settings.log_level == "debug"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso" if is_json else "%H:%M:%S", utc=is_json),
        hide_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared[:-1], structlog.stdlib.PositionalArgumentsFormatter(), hide_secrets],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(is_json, is_debug),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.NOTSET if is_debug else logging.WARNING)
    warnings.showwarning = _show_warning


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets: by their type, by the name of their field, and passwords in URLs."""
    exc_info = event.pop("exc_info", None)
    hidden = {name: _hidden(value) for name, value in redact(dict(event)).items()}
    return {**hidden, "exc_info": exc_info} if exc_info else hidden


def _rendering(is_json: bool, is_debug: bool) -> list[Processor]:
    if is_json:
        trace = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [
            structlog.processors.ExceptionRenderer(trace),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    if is_debug:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [_tell_in_a_line, structlog.dev.ConsoleRenderer()]


def _tell_in_a_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say of an exception what and where it was; its traceback is for `--debug`."""
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    if isinstance(exc_info, BaseException):
        event["error"] = explain(exc_info)
    return event


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return _URL_PASSWORD.sub(r"\1:***@", value)
    if isinstance(value, SecretStr | SecretBytes):
        return "***"
    if isinstance(value, Mapping):
        return {name: _hidden(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in value]
    return value


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print our own warnings as the sentences that they are; those of libraries are for `--debug`."""
    if issubclass(category, UserWarning) and "PERRON_" in str(message):
        sys.stderr.write(f"Warning: {message}\n")
    else:
        logging.getLogger("py.warnings").debug("%s:%s: %s: %s", filename, lineno, category.__name__, message)
