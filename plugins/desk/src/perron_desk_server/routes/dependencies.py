"""What routes are given."""

from typing import Annotated, cast

from fastapi import Depends, Request

from perron_desk_server.exchange import Exchange
from perron_desk_server.faults import FaultBoard
from perron_desk_server.keys import KeysInProgress
from perron_desk_server.store import Store
from perron_desk_server.waiting import WaitingRoom

# All are `async` although they wait for nothing: FastAPI runs others in a thread pool.


async def _store(request: Request) -> Store:
    return cast("Store", request.app.state.store)


async def _board(request: Request) -> FaultBoard:
    return cast("FaultBoard", request.app.state.board)


async def _room(request: Request) -> WaitingRoom:
    return cast("WaitingRoom", request.app.state.room)


async def _keys(request: Request) -> KeysInProgress:
    return cast("KeysInProgress", request.app.state.keys)


StoreDep = Annotated[Store, Depends(_store)]
BoardDep = Annotated[FaultBoard, Depends(_board)]
RoomDep = Annotated[WaitingRoom, Depends(_room)]
KeysDep = Annotated[KeysInProgress, Depends(_keys)]


async def before_effect(request: Request) -> None:
    """Wait if the request's fault says so. Routes call it when all checks are done, before the work."""
    exchange: Exchange | None = getattr(request.state, "exchange", None)
    if exchange is not None:
        await exchange.before_effect()
