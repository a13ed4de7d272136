"""The SQL functions that a pipeline begins with."""

from uuid import UUID

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from perron.ids import new_id

LOST, BUSY, MOVED, GONE = "PN001", "PN002", "PN003", "PN004"


@pytest.fixture
def connection(database_url: str) -> Connection:
    return psycopg.connect(database_url, autocommit=True)


def make_thread(connection: Connection) -> UUID:
    thread_id = new_id()
    connection.execute("INSERT INTO perron.threads (thread_id) VALUES (%s)", [thread_id])
    return thread_id


def make_run(connection: Connection, thread_id: UUID, *, status: str = "running", epoch: int = 3) -> UUID:
    run_id = new_id()
    connection.execute(
        "INSERT INTO perron.runs (run_id, thread_id, graph_id, seq, status, epoch)"
        " VALUES (%s, %s, 'agent', 1, %s, %s)",
        [run_id, thread_id, status, epoch],
    )
    return run_id


def make_checkpoint(connection: Connection, thread_id: UUID, checkpoint_id: str, namespace: str = "") -> None:
    connection.execute(
        "INSERT INTO langgraph.checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint)"
        " VALUES (%s, %s, %s, '{}')",
        [str(thread_id), namespace, checkpoint_id],
    )


def refusal(connection: Connection, function: str, *arguments: object) -> str | None:
    """Call a fence; return the SQLSTATE it raised, None when it lets pass."""
    places = ", ".join(["%s"] * len(arguments))
    try:
        connection.execute(f"SELECT perron.{function}({places})", arguments)
    except psycopg.Error as exc:
        return exc.sqlstate
    return None


@pytest.mark.parametrize("fence", ["fence", "fence_apply"])
def test_only_the_running_epoch_passes(connection: Connection, fence: str) -> None:
    run_id = make_run(connection, make_thread(connection), epoch=3)
    ended = make_run(connection, make_thread(connection), status="success", epoch=3)

    assert refusal(connection, fence, run_id, 3) is None
    assert refusal(connection, fence, run_id, 2) == LOST
    assert refusal(connection, fence, run_id, 4) == LOST
    assert refusal(connection, fence, ended, 3) == LOST
    assert refusal(connection, fence, new_id(), 3) == LOST


def test_the_applying_fence_notes_that_the_input_stands(connection: Connection) -> None:
    run_id = make_run(connection, make_thread(connection))

    refusal(connection, "fence_apply", run_id, 2)
    before = connection.execute("SELECT input_applied FROM perron.runs").fetchone()
    refusal(connection, "fence_apply", run_id, 3)
    after = connection.execute("SELECT input_applied FROM perron.runs").fetchone()

    assert (before, after) == ((False,), (True,))


def test_a_claim_waits_for_a_fenced_transaction(connection: Connection, database_url: str) -> None:
    run_id = make_run(connection, make_thread(connection))

    with connection.transaction(), psycopg.connect(database_url) as claimant:
        refusal(connection, "fence", run_id, 3)
        claimant.execute("SET lock_timeout = '50ms'")
        with pytest.raises(LockNotAvailable):
            claimant.execute("SELECT 1 FROM perron.runs WHERE run_id = %s FOR NO KEY UPDATE", [run_id])


def test_a_thread_with_a_run_refuses_other_writers(connection: Connection) -> None:
    thread_id = make_thread(connection)

    make_run(connection, thread_id, status="pending")

    assert refusal(connection, "fence_thread", thread_id, None) == BUSY


def test_a_thread_whose_newest_checkpoint_moved_refuses_other_writers(connection: Connection) -> None:
    thread_id = make_thread(connection)
    assert refusal(connection, "fence_thread", thread_id, None) is None
    assert refusal(connection, "fence_thread", thread_id, "1f00") == MOVED

    make_checkpoint(connection, thread_id, "1f00")
    make_checkpoint(connection, thread_id, "1f01")
    make_checkpoint(connection, thread_id, "1f02", namespace="child:1")

    assert refusal(connection, "fence_thread", thread_id, "1f01") is None
    assert refusal(connection, "fence_thread", thread_id, "1f00") == MOVED
    assert refusal(connection, "fence_thread", thread_id, None) == MOVED
    assert refusal(connection, "fence_thread", new_id(), None) == GONE
