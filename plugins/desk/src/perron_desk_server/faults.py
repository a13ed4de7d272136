"""Faults: what can be made to go wrong, and which requests it is armed for."""

from collections.abc import Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Self

from pydantic import BaseModel, Field, ValidationError

from perron_desk_server.errors import BadFaultError, NoRouteError
from perron_desk_server.request_glob import can_fit

FAULT_HEADER = b"x-desk-fault"


class FaultKind(StrEnum):
    """How a request goes wrong: before its effect if the name says so, else after the effect's commit."""

    LATE = "late"  # the answer comes `delay_s` later
    LATE_BEFORE = "late_before"  # the effect comes `delay_s` later, whether or not the client is still there
    DROP_BEFORE = "drop_before"  # the connection is cut, no effect
    DROP_AFTER = "drop_after"  # the connection is cut
    ERROR_BEFORE = "error_before"  # `status`, no effect
    ERROR_AFTER = "error_after"  # `status`
    RATE_LIMITED = "rate_limited"  # 429 with Retry-After, no effect
    HTML = "html"  # `status` with a web page
    HUGE = "huge"  # the answer, padded to 10 MB
    HOLD_BEFORE = "hold_before"  # nothing happens until release; none ever if the client goes
    HOLD_AFTER = "hold_after"  # no answer until release


# What the number after the colon of the header means.
_ARGUMENT = {
    FaultKind.LATE: "delay_s",
    FaultKind.LATE_BEFORE: "delay_s",
    FaultKind.ERROR_BEFORE: "status",
    FaultKind.ERROR_AFTER: "status",
    FaultKind.HTML: "status",
    FaultKind.RATE_LIMITED: "retry_after_s",
}


class Fault(BaseModel, extra="forbid"):
    """A way to go wrong. `status` defaults to 500 for errors and 200 for `html`."""

    kind: FaultKind
    delay_s: float = Field(1.0, ge=0, le=600)
    status: int | None = Field(None, ge=200, le=599)
    retry_after_s: int = Field(1, ge=0)

    @classmethod
    def parse(cls, spec: str) -> Self:
        """The fault of a header `kind[:number]`, such as `late:0.5`, `error_after:503` or `rate_limited:2`.

        Raises:
            BadFaultError: There is no such kind, or it takes no such number.
        """
        kind, colon, argument = spec.strip().partition(":")
        fields = {"kind": kind}
        if colon:
            # A kind without an argument gets a field of no name, which is refused.
            fields[_ARGUMENT.get(kind, "")] = argument  # type: ignore[call-overload]  # a StrEnum equals its text
        try:
            return cls.model_validate(fields)
        except ValidationError as exc:
            raise BadFaultError(spec, known=list(FaultKind)) from exc


class ArmedFault(Fault):
    """A fault that waits for requests. `path` is a glob over `METHOD /path`, in which `*` crosses slashes."""

    path: str = "*"
    times: int = Field(1, ge=1)


class FaultBoard:
    """The armed faults, in memory only: a desk that is started anew behaves."""

    def __init__(self, routes: Sequence[str]) -> None:
        """`routes` are those that can go wrong, as `METHOD /path/{parameter}`."""
        self._routes = routes
        self._armed: list[ArmedFault] = []

    def arm(self, fault: ArmedFault) -> None:
        """Let the next `fault.times` requests that fit go wrong. Of several that fit the oldest is taken.

        Raises:
            NoRouteError: No request to the desk will ever fit.
        """
        if not any(can_fit(fault.path, route) for route in self._routes):
            raise NoRouteError(fault.path, routes=self._routes)
        self._armed.append(fault)

    def disarm(self) -> None:
        """Take all faults away."""
        self._armed.clear()

    def armed(self) -> list[ArmedFault]:
        """What is armed; `times` is what is left."""
        return list(self._armed)

    def take(self, request: str) -> Fault | None:
        """Use up the first fault that fits this `METHOD /path`."""
        for fault in self._armed:
            if fnmatchcase(request, fault.path):
                fault.times -= 1
                if fault.times == 0:
                    self._armed.remove(fault)
                return fault
        return None
