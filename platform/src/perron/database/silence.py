"""Ending a connection on which nothing comes any more."""

from __future__ import annotations

import contextlib
import os
import socket


def cut(descriptor: int) -> None:
    """Shut a socket down, so that whoever waits for an answer on it gets an error now; its owner closes it."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as doomed:
        doomed.shutdown(socket.SHUT_RDWR)
