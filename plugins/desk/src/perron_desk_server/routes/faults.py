"""`/faults`: making requests go wrong. The kinds are in `server/faults.py`."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from perron_desk_server.faults import ArmedFault
from perron_desk_server.routes.dependencies import BoardDep, RoomDep

router = APIRouter(prefix="/faults")


class Held(BaseModel):
    """The requests that are held now, as `METHOD /path`."""

    held: int
    requests: list[str]


class Released(BaseModel):
    """How many requests were held and go on."""

    released: int


@router.post("", summary="Arm a fault", status_code=201)
async def arm(board: BoardDep, fault: ArmedFault) -> ArmedFault:
    """It is used up by the next `times` requests that fit its `path`."""
    board.arm(fault)
    return fault


@router.get("", summary="List armed faults")
async def search(board: BoardDep) -> list[ArmedFault]:
    """With how often each is left."""
    return board.armed()


@router.delete("", summary="Disarm all faults", status_code=204)
async def disarm(board: BoardDep) -> None:
    """Requests that are held stay held."""
    board.disarm()


@router.get("/held", summary="Show held requests")
async def held(
    room: RoomDep,
    wait_s: Annotated[float, Query(ge=0, le=600)] = 0,
    at_least: Annotated[int, Query(ge=1)] = 1,
) -> Held:
    """With `wait_s` the answer comes when `at_least` so many are held, or the time is over."""
    requests = await room.wait_held(at_least=at_least, timeout_s=wait_s)
    return Held(held=len(requests), requests=requests)


@router.post("/release", summary="Let all held requests go on")
async def release(room: RoomDep) -> Released:
    """Those before their effect have it now, those after it are answered."""
    return Released(released=room.release())
