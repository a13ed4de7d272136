"""A database cluster on disk and the server on it: making, starting, reaching and stopping it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from perron.database.embedded.account import Account, server_account
from perron.database.embedded.binaries import MAJOR_VERSION, find_binaries
from perron.database.embedded.lock import FileLock
from perron.database.embedded.socket_directory import (
    make_socket_directory,
    recorded_socket_directory,
    remove_socket_directory,
)
from perron.database.url import DatabaseUrl
from perron.errors import EmbeddedServerError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.01
_LOG_MAX_BYTES = 16_000_000

# The builtin locale provider: sorting does not change with the system's C library.
_INITDB = (
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-instructions",
    "--set=max_connections=200",
    "--set=shared_buffers=128MB",
    "--set=timezone=UTC",
    "--set=log_timezone=UTC",
)


class Cluster:
    """The files in a directory and, at times, a server on them. The caller sees to it that one acts at a time.

    Whether a server lives is told by the file `server`: its processes inherit a lock on it. Pids tell nothing,
    they are given out again after a reboot, and in a new container at once.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._data = home / "data"
        self._log = home / "server.log"

    def exists(self) -> bool:
        """The cluster has been made."""
        return self._data.exists()

    def is_alive(self) -> bool:
        """A server process lives, be it starting, ready or stopping."""
        lock = FileLock(self._home / "server")
        try:
            return not lock.try_exclusive()
        finally:
            lock.close()

    def reach(self) -> DatabaseUrl | None:
        """Wait until the server takes connections and return its address; None when it cannot be reached.

        Raises:
            EmbeddedServerError: It lives, but is not ready within `START_TIMEOUT_S`.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while (directory := recorded_socket_directory(self._home, self._owners())) is not None:
            url = DatabaseUrl(host=str(directory), port="5432", user="postgres", database="postgres")
            try:
                psycopg.connect(url.psycopg, connect_timeout=5).close()
            except psycopg.OperationalError as exc:
                if not self.is_alive():
                    return None
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"The embedded PostgreSQL in {self._home} is not ready after {START_TIMEOUT_S:g} s "
                        f"({str(exc).strip().splitlines()[0]}): see {self._log}."
                    ) from exc
                time.sleep(_POLL_S)
            else:
                return url
        return None

    def create(self) -> None:
        """Make the cluster.

        Raises:
            EmbeddedServerError: initdb fails; the message has its reason.
        """
        account = server_account(self._data)
        binaries = find_binaries(account)
        # Made under another name: whoever is killed in here leaves no half of a cluster behind. And never twice
        # under the same: the killed one's initdb may still be at work, and at the end it deletes by path.
        for left in self._home.glob("data.new-*"):
            shutil.rmtree(left, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix="data.new-", dir=self._home))
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
        with _reachable(fresh, account) as (path, fds):
            done = subprocess.run(
                [binaries / "initdb", *_INITDB, "-D", path],
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=START_TIMEOUT_S,
                pass_fds=fds,
                **_surroundings(account),
            )
        if done.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedServerError(
                f"No PostgreSQL could be made in {self._home}: {_reason(done.stderr) or done.returncode}."
            )
        fresh.rename(self._data)

    def start(self) -> DatabaseUrl:
        """Start a server in a process session of its own and return its address once it takes connections.

        Raises:
            EmbeddedServerError: It ends at once, or is not ready in time; the message has the reason.
        """
        account = server_account(self._data)
        version = (self._data / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != MAJOR_VERSION:
            raise EmbeddedServerError(
                f"{self._data} was made by PostgreSQL {version}, and this Perron brings {MAJOR_VERSION}: "
                "dump it with the Perron that made it, or name another directory with PERRON_HOME."
            )
        binaries = find_binaries(account)
        lock = FileLock(self._home / "server")
        try:
            if not lock.try_exclusive():
                raise EmbeddedServerError(f"Another server works in {self._home}; try again in a moment.")
            # No server lives, so this is a dead one's; its pid may be anybody's by now, and then PostgreSQL
            # would refuse to start.
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            remove_socket_directory(self._home, self._owners())
            socket_directory = make_socket_directory(self._home, account)
            log_start = self._launch(binaries, account, socket_directory, lock)
        finally:
            lock.close()
        url = self.reach()
        if url is None:
            remove_socket_directory(self._home, self._owners())
            reason = _reason(self._log.read_bytes()[log_start:].decode(errors="replace"))
            raise EmbeddedServerError(
                f"The embedded PostgreSQL in {self._home} does not start: "
                f"{reason or 'it gave no reason'}; see {self._log}."
            )
        return url

    def stop(self) -> None:
        """Stop the server and wait until it is gone.

        Raises:
            EmbeddedServerError: It is still there after `STOP_TIMEOUT_S`.
        """
        for stop_signal in (signal.SIGINT, signal.SIGQUIT):  # PostgreSQL's "fast" and "immediate"
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
                pid_file = self._data / "postmaster.pid"
                os.kill(int(pid_file.read_text(encoding="utf-8").splitlines()[0]), stop_signal)
            deadline = time.monotonic() + STOP_TIMEOUT_S / 2
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            if not self.is_alive():
                remove_socket_directory(self._home, self._owners())
                return
        raise EmbeddedServerError(f"The embedded PostgreSQL in {self._home} does not stop: see {self._log}.")

    def _launch(self, binaries: Path, account: Account | None, socket_directory: Path, lock: FileLock) -> int:
        """Start the server's process and return where its part of the log begins, in bytes."""
        if self._log.exists() and self._log.stat().st_size > _LOG_MAX_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with _reachable(self._data, account) as (path, fds), self._log.open("ab") as log:
            begin = log.tell()
            options = {"listen_addresses": "", "unix_socket_directories": str(socket_directory)}
            settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
            # By a shell that ends at once: the server is nobody's child, so whoever started it may end first,
            # or live on for long without having to reap it.
            subprocess.run(
                ["/bin/sh", "-c", '"$@" &', "sh", binaries / "postgres", "-D", path, "-p", "5432", *settings],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is not meant for it
                pass_fds=(*fds, lock.fd),
                **_surroundings(account),
            )
            return begin

    def _owners(self) -> set[int]:
        owners = {os.geteuid()}
        if self._data.exists():
            owners.add(self._data.stat().st_uid)
        return owners


@contextlib.contextmanager
def _reachable(directory: Path, account: Account | None) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield a path by which `account` reaches a directory of its own, and the descriptors it needs for that."""
    if account is None or sys.platform != "linux":
        yield str(directory), ()
        return
    # A parent may be closed to the account (/root, pytest's directories), and opening parents to everybody is
    # not ours to do. Through an inherited descriptor the kernel checks the directory itself and no parent.
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}", (fd,)
    finally:
        os.close(fd)


def _surroundings(account: Account | None) -> dict[str, Any]:
    """Arguments for `subprocess`: account, directory and a bare environment.

    No `PG*` variable may turn the server into something else, and no secret is handed on.
    """
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return {
        "cwd": "/",
        "env": environment | {"LC_ALL": "C", "TZ": "UTC"},
        **(account.for_subprocess if account else {}),
    }


def _reason(output: str) -> str:
    """Return the line of PostgreSQL's output that says why it ended."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "removing " not in line]
    telling = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "error:" in line]
    return (telling or lines or [""])[-1].rstrip(".")
