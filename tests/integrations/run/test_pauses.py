"""What a process knows of pauses, and whom they concern."""

from uuid import UUID

import pytest
from tests.integrations.conftest import ThreadDriver, make_spec

from perron.caller import Caller
from perron.database.engine import Database
from perron.ids import new_id
from perron.integrations.exchange import ActiveCall, Outgoing
from perron.integrations.run.pauses import Pauses
from perron.models.connection import Connection
from perron.repositories.pause import PauseRepository

ELSEWHERE = Caller.system("elsewhere")
HERE = Caller.system()


def make_connection(name: str, *, tenant: str = "default", owner: str = "*") -> Connection:
    return Connection(
        connection_id=new_id(),
        tenant=tenant,
        owner=owner,
        integration="desk",
        name=name,
        sealed=b"",
        data_key=b"",
        key_id="k",
    )


async def test_a_pause_concerns_what_it_names_in_its_tenant(database: Database) -> None:
    async with database.begin() as session:
        pauses = PauseRepository(session, HERE)
        await pauses.put("agent", "refunds", reason="a bad release")
        await pauses.put("integration", "desk", reason="their maintenance")
    board = Pauses(database)
    assert board.of_agent("default", "refunds") is None  # it has not looked yet

    await board.look()

    assert board.of_agent("default", "refunds") is not None
    assert board.of_agent("default", "other") is None
    assert board.of_agent("elsewhere", "refunds") is None
    assert board.of_call("default", "desk.refund", None) is not None
    assert board.of_call("default", "desktop.refund", None) is None
    assert board.of_call("elsewhere", "desk.refund", None) is None


async def test_a_pause_of_a_connection_concerns_all_owners_connections_of_that_name(database: Database) -> None:
    paused = [make_connection("eu"), make_connection("eu", owner="ann")]
    others = [make_connection("us"), make_connection("eu", tenant="elsewhere")]
    async with database.begin() as session:
        session.add_all([*paused, *others])
        await PauseRepository(session, HERE).put("connection", "desk/eu", reason="a leaked token")
    board = Pauses(database)
    await board.look()

    assert all(board.of_call(row.tenant, "desk.refund", row.connection_id) for row in paused)
    assert not any(board.of_call(row.tenant, "desk.refund", row.connection_id) for row in others)
    assert board.of_call("default", "desk.refund", None) is None


class Parked(Exception):  # noqa: N818  # reads as what happened to the node
    """Stands for LangGraph's GraphDrained."""


@pytest.mark.parametrize("effect", ["read", "create"])
async def test_nothing_leaves_over_a_paused_connection(thread: ThreadDriver, effect: str) -> None:
    connection_id = new_id()
    execution = await thread.execution()
    execution.context.hold = lambda operation, used: Parked() if used == connection_id else None

    async def prepare() -> UUID:
        return connection_id

    async def body(call: ActiveCall) -> object:
        send = call.read if effect == "read" else call.send
        transport = thread.api.transport({}, call.marker)
        return await send(Outgoing("GET", "desk", "/refunds", None, 1.0), transport, prepare=prepare)

    with pytest.raises(Parked):
        await execution.make(make_spec(effect=effect), {}, body)

    assert thread.api.requests == 0
    assert await thread.calls() == []
