"""Groups of commands: `perron runs list`, `perron runs show`, …"""

from __future__ import annotations

import typer


def new_group(text: str) -> typer.Typer:
    """Return an app that stays a group with a single command in it too."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    def begin() -> None: ...

    app.callback(help=text)(begin)
    return app
