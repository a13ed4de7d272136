"""What the desk answers when it refuses a request, and why it may not start.

DeskStartError
DeskError
├── UnauthorizedError     401
├── BadFaultError         400
├── NotFoundError         404
├── KeyInProgressError    409
├── KeyReusedError        422
└── NoRouteError          422
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class DeskStartError(Exception):
    """The server ended, or did not get ready in time; `log` is where it said why."""

    def __init__(self, log: Path) -> None:
        self.log = log
        said = log.read_text(errors="replace")[-2000:].strip() or "(nothing)"
        super().__init__(f"The desk did not start. It wrote to {log}: {said}")


class DeskError(Exception):
    """A refusal: one sentence for a person, a code for a program."""

    http_status: ClassVar[int]
    code: ClassVar[str]


class UnauthorizedError(DeskError):
    """The request carries no bearer token, or another one than the desk's."""

    http_status = 401
    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("Send the desk's token in the header 'Authorization: Bearer <token>'.")


class BadFaultError(DeskError):
    """The header `X-Desk-Fault` names no fault that the desk knows."""

    http_status = 400
    code = "bad_fault"

    def __init__(self, spec: str, *, known: list[str]) -> None:
        super().__init__(f"X-Desk-Fault: {spec!r} is none of kind[:number] with kind in {', '.join(known)}.")


class NotFoundError(DeskError):
    """Nothing has this id."""

    http_status = 404
    code = "not_found"

    def __init__(self, noun: str, noun_id: str) -> None:
        super().__init__(f"There is no {noun} {noun_id!r}.")


class KeyInProgressError(DeskError):
    """A request with this idempotency key is being worked on."""

    http_status = 409
    code = "key_in_progress"

    def __init__(self, key: str) -> None:
        super().__init__(f"A request with Idempotency-Key {key!r} is in progress; try again in a moment.")


class KeyReusedError(DeskError):
    """This idempotency key belongs to a request with another payment or body."""

    http_status = 422
    code = "key_reused"

    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency-Key {key!r} was used for another request; take a new key for a new one.")


class NoRouteError(DeskError):
    """A fault was to be armed for a path that no request can have."""

    http_status = 422
    code = "no_route"

    def __init__(self, path: str, *, routes: Sequence[str]) -> None:
        super().__init__(f"No request can fit the path {path!r}: it is a glob over one of {', '.join(routes)}.")
