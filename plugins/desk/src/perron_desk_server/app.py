"""The desk's HTTP application.

Every error is `{"error": {"code": ..., "message": ...}}`; that of an invalid request has `fields` with reasons.
Lists come in pages: see `routes/tickets.py`. The levers for tests are `/book` and `/faults`.
"""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from perron_desk_server.errors import DeskError
from perron_desk_server.faults import FaultBoard
from perron_desk_server.gate import FaultGate, TokenGate, refusal
from perron_desk_server.keys import KeysInProgress
from perron_desk_server.routes import book, cards, customers, faults, me, messages, payments, tickets
from perron_desk_server.store import Store
from perron_desk_server.waiting import WaitingRoom

_BUSINESS = (me, tickets, customers, cards, payments, messages)
"""Whose requests can go wrong; the levers always work."""


def create_app(store: Store, *, token: str, room: WaitingRoom) -> ASGIApp:
    """The application over an open store. The caller closes store and room."""
    board = FaultBoard(_requests())
    app = FastAPI(title="Desk", docs_url=None, redoc_url=None)
    app.state.store, app.state.room, app.state.keys = store, room, KeysInProgress()
    app.state.board = board
    for routes in (*_BUSINESS, book, faults):
        app.include_router(routes.router)
    app.add_exception_handler(DeskError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(HTTPException, _refuse_http)
    return TokenGate(FaultGate(app, board=board, room=room), token=token)


def _requests() -> list[str]:
    found = [route for module in _BUSINESS for route in module.router.routes if isinstance(route, APIRoute)]
    return [f"{method} {route.path}" for route in found for method in route.methods or ()]


async def _refuse(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, DeskError)
    return refusal(exc)


async def _refuse_invalid(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    # The input itself stays out: a lone surrogate in it could not be written into the answer.
    fields = [
        {"field": ".".join(str(part) for part in error["loc"]), "reason": error["msg"]} for error in exc.errors()
    ]
    message = "; ".join(f"{field['field']}: {field['reason']}" for field in fields)
    return JSONResponse({"error": {"code": "invalid", "message": message, "fields": fields}}, 422)


async def _refuse_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    message = f"{request.method} {request.url.path}: {exc.detail}."
    return JSONResponse({"error": {"code": "http", "message": message}}, exc.status_code, exc.headers)
