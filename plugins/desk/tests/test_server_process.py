"""The desk as a process: it starts, says so, ends, and has lost nothing that it answered."""

import json
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from perron_desk_server.errors import DeskStartError
from perron_desk_server.process import DeskProcess, start_desk

COMMAND = [sys.executable, "-m", "perron_desk_server.main"]


def client_of(desk: DeskProcess) -> httpx.Client:
    return httpx.Client(base_url=desk.url, headers={"Authorization": f"Bearer {desk.token}"}, timeout=20)


def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    db = tmp_path / "desk.sqlite3"
    key = {"Idempotency-Key": "k"}
    answered = []
    with start_desk(db) as desk, client_of(desk) as api, ThreadPoolExecutor(4) as threads:
        first = api.post("/payments/pay-1-1/refunds", json={"amount_cents": 5}, headers=key)
        desk.arm("hold_after", "POST /tickets")
        threads.submit(api.post, "/tickets", json={"customer": "c-1", "subject": "s", "text": "t", "ref": "r"})
        desk.wait_held()
        for n in range(50):
            answered.append(api.post("/messages", json={"to": "a", "text": str(n)}).json()["id"])
        desk.kill()

    with start_desk(db, port=desk.port) as desk, client_of(desk) as api:
        again = api.post("/payments/pay-1-1/refunds", json={"amount_cents": 5}, headers=key)
        tickets = api.get("/tickets", params={"ref": "r"}).json()["items"]
        api.post("/messages", json={"to": "a", "text": "next"})

        assert again.json() == first.json()
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(tickets) == 1
        assert desk.counts() == {"freeze": 0, "ticket": 1, "refund": 1, "message": 51}
        assert [f"m-{effect.n}" for effect in desk.book("message")][:50] == answered


def test_the_book_can_be_read_with_plain_sql_while_the_desk_runs(desk: DeskProcess, api: httpx.Client) -> None:
    api.put("/cards/card-1-1/freeze")

    reader = sqlite3.connect(desk.db)
    try:
        rows = reader.execute("SELECT kind, subject, body FROM effects").fetchall()
    finally:
        reader.close()

    assert rows == [("freeze", "card-1-1", '{"card": "card-1-1"}')]


def test_answers_do_not_wait_for_tcp_acknowledgements(api: httpx.Client) -> None:
    # Without TCP_NODELAY each answer on a kept connection takes the client's delayed acknowledgement: 40 ms.
    latencies_s = [api.get("/me").elapsed.total_seconds() for _ in range(50)]

    assert statistics.median(latencies_s) < 0.03


def test_a_desk_takes_its_token_from_its_starter_and_is_gone_when_closed(tmp_path: Path) -> None:
    with start_desk(tmp_path / "desk.sqlite3", token="other") as desk:
        port = desk.port
        assert desk.counts()["message"] == 0
        assert httpx.get(f"{desk.url}/me", headers={"Authorization": "Bearer desk-demo-token"}).status_code == 401

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def test_the_command_prints_one_line_of_json_when_it_is_ready(tmp_path: Path) -> None:
    db = tmp_path / "new folder" / "desk.sqlite3"
    process = subprocess.Popen([*COMMAND, "--db", str(db), "--token", "t"], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        me = httpx.get(f"{ready['url']}/me", headers={"Authorization": "Bearer t"})
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()

    assert ready["db"] == str(db)
    assert me.status_code == 200
    assert (rest, process.returncode) == (b"", 130)


def test_the_desk_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent_code = (
        "import sys, time, pathlib\n"
        "from perron_desk_server.process import start_desk\n"
        "desk = start_desk(pathlib.Path(sys.argv[1]))\n"
        "print(desk.port, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code, str(tmp_path / "desk.sqlite3")], stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            parent.kill()

            # The desk closes idle connections when it ends.
            assert connection.recv(1) == b""


async def test_the_levers_can_be_awaited(desk: DeskProcess) -> None:
    async with httpx.AsyncClient(base_url=desk.url, headers={"Authorization": f"Bearer {desk.token}"}) as api:
        await desk.aio.arm("rate_limited", "PUT /cards/*", retry_after_s=3)
        limited = await api.put("/cards/card-1-1/freeze")
        frozen = await api.put("/cards/card-1-1/freeze")

    assert (limited.headers["Retry-After"], frozen.status_code) == ("3", 200)
    assert (await desk.aio.counts_by_subject())["freeze"] == {"card-1-1": 1}
    assert [effect.subject for effect in await desk.aio.book("freeze")] == ["card-1-1"]


def test_a_file_that_is_no_database_is_named_as_the_reason(tmp_path: Path) -> None:
    db = tmp_path / "desk.sqlite3"
    db.write_text("no database at all, but long enough to be read as the head of one" * 20)

    with pytest.raises(DeskStartError, match="perron-desk-server: file is not a database") as raised:
        start_desk(db)

    assert "Traceback" not in str(raised.value)


def test_a_port_that_is_taken_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*COMMAND, "--db", str(tmp_path / "desk.sqlite3"), "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"perron-desk-server: cannot listen on 127.0.0.1 port {port}: another process does; "
        "end that one, or name another port with --port (0 takes a free one).\n"
    )


def test_a_desk_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(DeskStartError, match=f"cannot listen on 127.0.0.1 port {taken.getsockname()[1]}"),
    ):
        start_desk(tmp_path / "desk.sqlite3", port=taken.getsockname()[1])
