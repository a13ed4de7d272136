"""How a command fails: one sentence on stderr, and the exit code that programs go by."""

from __future__ import annotations

import os
import sys
import traceback

from typer import Abort, TyperException

from perron.cli.output import plain
from perron.errors import (
    ConfigurationError,
    IntegrationError,
    InvalidInputError,
    NotFoundError,
    NotWaitingError,
    PerronError,
)

DONE, FAILED, BAD_USAGE, WAITING = 0, 1, 2, 3
INTERRUPTED = 130

_USAGE = (ConfigurationError, InvalidInputError, NotFoundError, NotWaitingError)


def tell(exc: Exception, *, is_debug: bool) -> int:
    """Say on stderr what went wrong and return the exit code."""
    if isinstance(exc, TyperException):
        return _tell_of_usage(exc)
    if isinstance(exc, Abort):
        _write("Nothing was changed: the question was not answered. Say --yes where nobody can be asked")
        return BAD_USAGE
    if isinstance(exc, BrokenPipeError):
        # Who read has gone. Python flushes stdout at its end: into nothing, or it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if is_debug:
        traceback.print_exception(exc)
    if isinstance(exc, PerronError | IntegrationError):
        _write(exc.message)
        return BAD_USAGE if isinstance(exc, _USAGE) else FAILED
    hint = "" if is_debug else " Run it again as `perron --debug …` for the traceback."
    _write(f"This is a fault of Perron or of a plugin: {type(exc).__name__}: {exc}.{hint}")
    return FAILED


def _tell_of_usage(exc: TyperException) -> int:
    message = exc.format_message().strip()
    if message:
        context = getattr(exc, "ctx", None)
        _write(message, hint=f"See `{context.command_path} --help`." if context is not None else "")
    return exc.exit_code


def _write(message: str, *, hint: str = "") -> None:
    end = "" if message.endswith((".", "?", "!", ")")) else "."
    sys.stderr.write(f"Error: {plain(message)}{end}{' ' if hint else ''}{hint}\n")
