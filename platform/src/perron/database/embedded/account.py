"""The account of the server: PostgreSQL refuses to run as root, so root lends it another."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perron.errors import EmbeddedServerError

USER = "perron-postgres"


@dataclass(frozen=True)
class Account:
    """A user that the server's processes run as."""

    uid: int
    gid: int

    @property
    def for_subprocess(self) -> dict[str, Any]:
        """The arguments that make `subprocess` run a command as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_account(data: Path) -> Account | None:
    """Return whom to run the server as: None means as this process.

    As root it is the owner of `data`, whoever that is (a volume outlives the container that made the user);
    for a new directory the system user `perron-postgres`, made when it is missing.

    Raises:
        EmbeddedServerError: This is root and there is no other user to run as.
    """
    if os.geteuid() != 0:
        return None
    if data.exists():
        owner = data.stat()
        return Account(owner.st_uid, owner.st_gid)
    account = _find(USER) or _create() or _find("nobody")
    if account is None:
        raise EmbeddedServerError(
            "PostgreSQL refuses to run as root, and the user perron-postgres could not be made: "
            "run Perron as another user, or set PERRON_DATABASE_URL."
        )
    return account


def _find(name: str) -> Account | None:
    import pwd  # noqa: PLC0415  # Windows has none

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def _create() -> Account | None:
    # `initdb` looks its user up by name: a bare uid will not do.
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    try:
        subprocess.run(
            [*command, "--shell", "/usr/sbin/nologin", USER], check=False, capture_output=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _find(USER)  # also when another process made it just now and ours failed
