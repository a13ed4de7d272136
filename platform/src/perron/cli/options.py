"""Options that several commands share."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """What stands before the command: `perron --debug run …`."""

    langgraph_json: Path | None = None
    is_debug: bool = False


global_options: ContextVar[GlobalOptions] = ContextVar("global_options", default=GlobalOptions())  # noqa: B039

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
All = Annotated[bool, typer.Option("--all", help="Print all there are, as one line of JSON each.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="The most rows to show.")]
