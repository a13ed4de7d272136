"""What to tell people of code that raised: one sentence, without a traceback."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from perron.errors import PerronError

_LIBRARY = Path(sysconfig.get_path("stdlib"))
_PERRON = Path(__file__).parent.parent


def explain(exc: BaseException) -> str:
    """Return an exception's last line and where it was raised: `KeyError: 'x' (plugin.py, line 3).`."""
    if isinstance(exc, PerronError):
        return exc.message if exc.message.endswith((".", "?")) else f"{exc.message}."
    if isinstance(exc, SyntaxError):
        return _with_place(f"{type(exc).__name__}: {exc.msg}", exc.filename, exc.lineno)
    # The first element: notes, of which LangGraph adds one, come behind it.
    last = traceback.format_exception_only(exc)[0].strip().removesuffix(".")
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if not _is_machinery(f.filename)]
    return _with_place(last, frames[-1].filename, frames[-1].lineno) if frames else f"{last}."


def _is_machinery(filename: str) -> bool:
    """Whether a frame belongs to Python's library or to us: it says nothing about the fault."""
    path = Path(filename)
    if "site-packages" in path.parts:
        return False
    return filename.startswith("<") or any(path.is_relative_to(place) for place in (_LIBRARY, _PERRON))


def _with_place(text: str, filename: str | None, line: int | None) -> str:
    return f"{text} ({Path(filename).name}, line {line})." if filename else f"{text}."
