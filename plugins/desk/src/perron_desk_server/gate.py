"""The gate before the application: the token, then the fault that a request asks for or was armed for."""

import hmac
import json

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perron_desk_server.errors import DeskError, UnauthorizedError
from perron_desk_server.exchange import AbandonedError, Exchange
from perron_desk_server.faults import FAULT_HEADER, Fault, FaultBoard, FaultKind
from perron_desk_server.waiting import WaitingRoom

HUGE_BYTES = 10_000_000

# The desk's own levers always work.
_LEVERS = ("/book", "/faults")

_PAGE = "<!doctype html><html><head><title>Desk</title></head><body><h1>We will be back soon</h1></body></html>"


class TokenGate:
    """Lets only requests with the desk's bearer token through."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or pass the request on."""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
        else:
            await refusal(UnauthorizedError())(scope, receive, send)


class FaultGate:
    """Lets requests go wrong."""

    def __init__(self, app: ASGIApp, *, board: FaultBoard, room: WaitingRoom) -> None:
        self._app = app
        self._board = board
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless there is a fault for it."""
        try:
            fault = self._find_fault(scope)
        except DeskError as exc:
            await refusal(exc)(scope, receive, send)
            return
        if fault is None:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(fault, scope, receive, self._room)
        try:
            await self._misbehave(exchange, scope, receive, send)
        finally:
            exchange.close()

    def _find_fault(self, scope: Scope) -> Fault | None:
        path: str = scope["path"]
        if path.startswith(_LEVERS):
            return None
        for name, value in scope["headers"]:
            if name == FAULT_HEADER:
                return Fault.parse(value.decode("latin-1"))
        return self._board.take(f"{scope['method']} {path}")

    async def _misbehave(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        fault = exchange.fault
        if fault.kind is FaultKind.DROP_BEFORE:
            await exchange.cut()
            return
        if early := _early_answer(fault):
            await early(scope, receive, send)
            return
        try:
            answer = await exchange.run(self._app)
        except AbandonedError:
            await exchange.cut()
            return
        if fault.kind is FaultKind.DROP_AFTER or not await exchange.before_answer():
            await exchange.cut()
        elif late := _late_answer(fault, answer):
            await late(scope, receive, send)
        else:
            for message in answer:
                await send(message)


def refusal(exc: DeskError) -> Response:
    """The answer that says what was wrong, in the shape of all the desk's errors."""
    return JSONResponse({"error": {"code": exc.code, "message": str(exc)}}, exc.http_status)


def _early_answer(fault: Fault) -> Response | None:
    match fault.kind:
        case FaultKind.ERROR_BEFORE:
            return _error(fault)
        case FaultKind.RATE_LIMITED:
            return JSONResponse(
                {"error": {"code": "rate_limited", "message": "Too many requests."}},
                429,
                headers={"Retry-After": str(fault.retry_after_s)},
            )
        case _:
            return None


def _late_answer(fault: Fault, answer: list[Message]) -> Response | None:
    match fault.kind:
        case FaultKind.ERROR_AFTER:
            return _error(fault)
        case FaultKind.HTML:
            return HTMLResponse(_PAGE, fault.status or 200)
        case FaultKind.HUGE:
            return _huge(answer)
        case _:
            return None


def _error(fault: Fault) -> Response:
    return JSONResponse({"error": {"code": "fault", "message": "The desk failed, as asked."}}, fault.status or 500)


def _huge(answer: list[Message]) -> Response:
    start, *parts = answer
    body = json.loads(b"".join(part["body"] for part in parts))
    fields = body if isinstance(body, dict) else {"answer": body}
    padded = json.dumps({**fields, "padding": "x" * HUGE_BYTES})
    headers = {name: value for name, value in Headers(raw=start["headers"]).items() if name != "content-length"}
    return Response(padded, start["status"], headers=headers)
