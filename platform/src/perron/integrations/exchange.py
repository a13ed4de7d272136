"""What passes between an operation and the journal: the request that leaves, the answer that comes back.

`Journal` (journal/journal.py) implements `Calls`; operations and the run's context know only what stands here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from uuid import UUID

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from perron.integrations.repeat import Repeat

T = TypeVar("T")

Effect = Literal["read", "create", "update", "delete"]

DEFINITE = frozenset({400, 404, 409, 410, 422})
"""Statuses that are an answer: nothing was done, and asking again would not change that."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer: an HTTP response, or an effect's result as JSON with status 200."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is about to leave, already redacted, as the attempt's row shows it to people."""

    method: str | None
    host: str | None
    path: str | None
    body: Any
    timeout_s: float
    """The deadline of the whole attempt, connecting included."""


class NotSent(Exception):  # noqa: N818  # an outcome of a transport, not an error for people
    """Provably nothing left: no connection, or refused on this side."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NoAnswer(Exception):  # noqa: N818  # an outcome of a transport, not an error for people
    """It may have arrived: a timeout, a reset, or something that is no answer."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


BeforeBytes = Callable[[], None]
"""The journal's last word: raises NotSent or LeaseLostError when nothing may leave any more. Never blocks."""

Transport = Callable[[BeforeBytes], Awaitable[Exchange]]
"""Sends once, and calls what it is given directly before the first byte.

Raises NotSent or NoAnswer, and nothing else for what goes wrong on the way.
"""

Prepare = Callable[[], Awaitable[UUID | None]]
"""Finds the connection, before a try is recorded and never for a replay. Returns its id, none if it has no row.

Raises ConnectionNotFoundError or AuthFailed when there is none that works: a question to a person.
"""

FOUND = "perron-found"
"""A header of ours: the body is the operation's result, found by a look-up or given by a person, not the API's."""

UNREADABLE = "perron-unreadable"
"""A header of ours: why the body is empty though the API sent one (too large, wrongly compressed)."""

APPROVED = 204
"""An approval's status: a person said yes."""

EDITED = 200
"""An approval's status: a person said yes to the arguments that are the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpec:
    """An operation or effect as the journal sees it."""

    key: str
    """`<integration>.<operation>`, or the effect's name."""
    integration: str = ""
    effect: Effect
    repeat: Repeat | None = None
    """How a repeat is made safe; none for reads."""
    timeout_s: float = 30.0
    redact: tuple[str, ...] = ()
    """JSONPaths over arguments and result whose values people do not see: `$.customer.email`."""
    definite: frozenset[int] = DEFINITE
    output: TypeAdapter[Any]
    plugin_version: str | None = None
    freeze: bool = False
    """A read that is recorded before it is used, and replayed like a write."""
    is_approval: bool = False
    """Nothing is sent: a person says yes, changes the arguments, or says no."""
    find: Callable[[str], Awaitable[Exchange | None]] | None = None
    """With LookUp: takes the marker, returns an Exchange with the header FOUND, or None. Reads unrecorded."""

    @property
    def is_recorded(self) -> bool:
        """Whether a run that comes back gets the recorded answer instead of a new one."""
        return self.freeze or self.effect != "read"


class ActiveCall(Protocol):
    """A call that is being made; what an operation's `api` sends through."""

    @property
    def marker(self) -> str:
        """The idempotency key (SameKey) or the client's marker (LookUp): the same at every try of this call."""

    async def send(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Make the one write of the call, or return its recorded answer.

        Returns:
            The answer, whatever its status: recorded, or refused and not recorded (401, 403, 429 after waiting).

        Raises:
            DefinitionError: The call has sent already; nothing left.
            Upstream: Provably nothing was sent, after several tries.
            LeaseLostError: This worker may not act for the run any more; nothing left.
        """

    async def read(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Read: a try that changes nothing there. Retried, and recorded for people.

        Raises:
            Upstream: No answer after several tries.
        """


class PendingCall(Protocol):
    """A call that has its place in the journal and is not made yet."""

    async def run(self, body: Callable[[ActiveCall], Awaitable[T]]) -> T:
        """Make the call: run `body`, perhaps over the recorded answer.

        Raises:
            Aborted: A person decided that it is not to be made.
            GraphInterrupt: A person has to decide; raised together with all questions of the node.
        """


class Calls(Protocol):
    """The journal, as operations use it."""

    def begin(self, spec: CallSpec, arguments: dict[str, Any], *, once: str | None = None) -> PendingCall:
        """Take the place of a call in its run. Synchronous, so that the order is the one of the author's code.

        `once` is a key of the author's: one call in the whole thread.
        """
