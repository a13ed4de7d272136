"""Where the demo plays: a directory and an environment of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_OURS = ("PERRON_", "LANGSMITH_", "LANGCHAIN_")
"""Deployments and tracing of whoever runs the demo are none of its business."""


@contextlib.contextmanager
def temporary_home(*, keep: bool) -> Iterator[Path]:
    """Make a directory and work in it; afterwards it is deleted unless it is to be kept."""
    home = Path(tempfile.mkdtemp(prefix="perron-demo-"))
    try:
        with contextlib.chdir(home):
            yield home
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def last_words(log: Path) -> str:
    """Return what a process that ended early has said last."""
    said = log.read_text(errors="replace").strip().splitlines()
    return said[-1] if said else "it says nothing"


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let this process, and those that it starts, see these variables and no other setting of Perron."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_OURS):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
