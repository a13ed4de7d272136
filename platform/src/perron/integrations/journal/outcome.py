"""What a try came to, and what follows: the table of answers × classes of repeat."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from perron.integrations.api.answer import retry_after_s
from perron.integrations.exchange import CallSpec, Exchange
from perron.integrations.repeat import AskPerson, Harmless, LookUp, SameKey


class Kind(Enum):
    """What one try came to."""

    DONE = auto()
    """2xx, 3xx: recorded and replayed."""
    FAILED = auto()
    """A definite no: nothing was done; recorded and replayed."""
    OTHER_REQUEST = auto()
    """The API holds another request under this key."""
    REFUSED = auto()
    """Nothing was done, and that may change: 401, 403, 413, … Not recorded as a result."""
    BUSY = auto()
    """Nothing was done: later. 425, 429, 503 with Retry-After."""
    IN_PROGRESS = auto()
    """The API is at work on the same request under this key."""
    NOT_SENT = auto()
    """Provably nothing left."""
    FAULT = auto()
    """5xx."""
    NO_ANSWER = auto()
    """It may have arrived."""


class Step(Enum):
    """What follows."""

    RETURN = auto()
    """Hand the answer to the operation."""
    AGAIN = auto()
    """Wait, then send."""
    LOOK_UP = auto()
    """Search for the marker; send again when it is not there."""
    ASK = auto()
    """A person decides."""
    GIVE_UP = auto()
    """Raise Upstream: nothing was done."""


DOUBTFUL = frozenset({Kind.FAULT, Kind.NO_ANSWER})


@dataclass(frozen=True, slots=True)
class Try:
    """One try, and what it came to."""

    kind: Kind
    answer: Exchange | None = None
    detail: str = ""
    wait_s: float | None = None
    """What the API asked for."""

    @property
    def outcome(self) -> str:
        """The attempt's outcome, as its row says it."""
        if self.answer is not None:
            return "answered"
        return "not_sent" if self.kind is Kind.NOT_SENT else "no_response"


def classify(spec: CallSpec, answer: Exchange, *, is_doubtful: bool) -> Try:
    """Say what an answer means; `is_doubtful`: an earlier try of this call may have arrived."""
    status = answer.status
    detail = f"answered {status}"
    wait_s = retry_after_s(answer.headers)
    if status in (425, 429) or (status == 503 and wait_s is not None):
        return Try(Kind.BUSY, answer, detail, wait_s)
    if status == 408:
        return Try(Kind.NO_ANSWER, answer, detail)
    if status >= 500:
        is_safe = isinstance(spec.repeat, AskPerson) and spec.repeat.safe_5xx
        return Try(Kind.BUSY if is_safe else Kind.FAULT, answer, detail)
    if is_doubtful and isinstance(spec.repeat, SameKey):
        if status == 409:
            return Try(Kind.IN_PROGRESS, answer, detail, wait_s)
        if status == 422:
            return Try(Kind.OTHER_REQUEST, answer, detail)
    if status < 400:
        return Try(Kind.DONE, answer, detail)
    return Try(Kind.FAILED if status in spec.definite else Kind.REFUSED, answer, detail)


def next_step(spec: CallSpec, kind: Kind, *, may_repeat: bool, is_doubtful: bool, within_ttl: bool = True) -> Step:
    """Say what follows from a try.

    `may_repeat`: there are tries left. `is_doubtful`: an earlier try of this call may have arrived, so that
    nothing but a definite answer can settle it. `within_ttl`: the API still knows the call's key.
    """
    if kind in (Kind.DONE, Kind.FAILED, Kind.OTHER_REQUEST):
        return Step.RETURN
    if spec.effect == "read":
        return step_of_read(kind, may_repeat=may_repeat)
    if kind in DOUBTFUL or (kind is Kind.IN_PROGRESS and not may_repeat):
        return _of_doubt(spec, may_repeat=may_repeat and within_ttl)
    if kind is not Kind.REFUSED and may_repeat:
        return Step.AGAIN
    if is_doubtful:
        return Step.ASK
    return Step.GIVE_UP if kind is Kind.NOT_SENT else Step.RETURN


def _of_doubt(spec: CallSpec, *, may_repeat: bool) -> Step:
    if not may_repeat:
        return Step.ASK
    match spec.repeat:
        case Harmless() | SameKey():
            return Step.AGAIN
        case LookUp():
            return Step.LOOK_UP
    return Step.ASK


def step_of_read(kind: Kind, *, may_repeat: bool) -> Step:
    """Say what follows from a try that changes nothing there."""
    if kind in (Kind.DONE, Kind.FAILED, Kind.OTHER_REQUEST, Kind.REFUSED):
        return Step.RETURN
    if may_repeat:
        return Step.AGAIN
    return Step.GIVE_UP if kind in (Kind.NOT_SENT, Kind.NO_ANSWER) else Step.RETURN
