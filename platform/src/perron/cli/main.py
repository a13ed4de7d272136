"""`perron`: the command line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from perron.cli.commands import Commands
from perron.cli.failure import DONE, tell
from perron.cli.options import GlobalOptions, global_options

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Runs LangGraph agents durably on PostgreSQL.",
    epilog="Plugins add commands of their own: `perron plugins commands` lists them.",
)


def _show_version(is_wanted: bool) -> None:  # Typer's callback
    if is_wanted:
        sys.stdout.write(f"perron {version('perron')}\n")
        raise typer.Exit


@app.callback()
def begin(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="A langgraph.json whose graphs are agents here."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log everything, and show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""
    global_options.set(GlobalOptions(config, debug or os.environ.get("PERRON_LOG_LEVEL", "").lower() == "debug"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed, 2 bad usage, 3 waiting for a person."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks is written as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="perron", standalone_mode=False)
        sys.stdout.flush()
    except Exception as exc:  # noqa: BLE001  # the door: nobody sees a traceback who has not asked for it
        return tell(exc, is_debug=global_options.get().is_debug)
    return code if isinstance(code, int) else DONE


def run() -> None:
    """Run the command line as a script."""
    sys.exit(main())
