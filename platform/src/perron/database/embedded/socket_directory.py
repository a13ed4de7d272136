"""The directory of the server's socket: short, private, and written down so that others find it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from perron.database.embedded.account import Account

_RECORD = "socket"


def make_socket_directory(home: Path, account: Account | None) -> Path:
    """Make a new directory for the server in `home`, and record it there."""
    # Never below `home`: a socket's path ends at about 100 bytes, and projects lie deeper than that.
    base = Path("/tmp")  # noqa: S108  # mkdtemp makes it private; TMPDIR may be long, or closed to `account`
    made = Path(tempfile.mkdtemp(prefix="perron-", dir=base if os.access(base, os.W_OK) else None))
    if account is not None:
        os.chown(made, account.uid, account.gid)
    fresh = home / f"{_RECORD}.new"
    fresh.write_text(str(made), encoding="utf-8")
    fresh.replace(home / _RECORD)
    return made


def recorded_socket_directory(home: Path, owners: set[int]) -> Path | None:
    """Return the recorded directory; None when there is none, or it is not one of `owners`' and private."""
    try:
        recorded = Path((home / _RECORD).read_text(encoding="utf-8"))
        found = recorded.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None  # after a reboot the record points nowhere
    # After a reboot anybody may have made a directory of this name, with a server of theirs in it.
    is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    return recorded if is_private and found.st_uid in owners else None


def remove_socket_directory(home: Path, owners: set[int]) -> None:
    """Remove the recorded directory and the record."""
    recorded = recorded_socket_directory(home, owners)
    if recorded is not None:
        shutil.rmtree(recorded, ignore_errors=True)
    (home / _RECORD).unlink(missing_ok=True)
