"""Every error that Perron raises on purpose.

PerronError
├── ConfigurationError            a setting, file or option is wrong
│   └── UnknownNameError          a name nobody has, with the nearest ones
├── DatabaseUnavailableError      PostgreSQL does not answer
├── EmbeddedServerError           the embedded PostgreSQL does not start
├── SchemaError                   the database's schema does not fit this release
├── NotFoundError                 404
│   ├── AgentNotFoundError, AssistantNotFoundError, ThreadNotFoundError
│   ├── RunNotFoundError
│   │   └── RunGoneError          it was rolled back meanwhile
│   ├── CheckpointNotFoundError, AskNotFoundError, CallNotFoundError
│   ├── CronNotFoundError, DeliveryNotFoundError, WorkerNotFoundError
│   └── ConnectionNotFoundError, PluginNotFoundError, PauseNotFoundError
├── ConflictError                 409: the thing is not in a state that allows it
│   ├── AlreadyExistsError, ThreadBusyError, NotWaitingError
│   └── RunEndedError, CheckpointMovedError, AlreadyDeliveredError
├── EventsGoneError               410: what a run has streamed is not kept any more
├── InvalidInputError             422: the input does not fit
│   └── InternalAddressError      a webhook that leads inside
├── PermissionDeniedError         403
├── AgentError                    an agent's graph cannot be loaded or built
├── PluginError                   a plugin cannot be loaded or its hook failed
├── DefinitionError               an integration, operation or effect is declared wrongly
├── OutsidePlatformError          `integration(...)`, `settings(...)` or `approve(...)` without a run
├── LeaseLostError                this worker may not act for the run any more
├── RunFailedError                a run that was waited for ended in `error`
└── SealError                     a secret cannot be sealed or opened

IntegrationError(RuntimeError)    what an agent sees of a call; langgraph never retries RuntimeError
├── AuthFailed, RateLimited, NotFound, Invalid, Upstream, ReplayMismatch
├── EgressBlocked, CircuitOpen
└── Rejected, Aborted             a person said no
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class PerronError(Exception):
    """The root: `code` is stable for clients, `facts` carries the fields for logs and JSON."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class ConfigurationError(PerronError):
    """A setting, a file or an option is wrong; the message says which and what to do."""

    code = "configuration"
    http_status = 400


class UnknownNameError(ConfigurationError):
    """Nobody has this name; the message brings the nearest ones."""

    code = "unknown_name"

    def __init__(self, kind: str, name: str, known: Iterable[str], *, prefix: str = "") -> None:
        """`prefix` is what the name and all that are known begin with: what is known then is said in any case."""
        known = list(known)
        hint = nearest(name, known, prefix=prefix)
        if prefix and not hint:
            hint = f" There are: {', '.join(known)}." if known else f" None begins with {prefix!r}."
        super().__init__(f"There is no {kind} {name!r}.{hint}", kind=kind, name=name)


class DatabaseUnavailableError(PerronError):
    """PostgreSQL cannot be reached or gave no answer in time."""

    code = "database_unavailable"
    http_status = 503


class EmbeddedServerError(PerronError):
    """The embedded PostgreSQL server cannot be started or joined."""

    code = "embedded_server"


class WorkerOutgrownError(PerronError):
    """A worker's process has grown beyond what it may."""

    code = "worker_outgrown"

    def __init__(self, resident_mb: int, limit_mb: int) -> None:
        super().__init__(
            f"The worker's memory was {resident_mb:,} MB, more than worker_memory_mb ({limit_mb:,}): it has given "
            "its runs back. Start it again; if it grows soon, look for what its agents keep.",
            resident_mb=resident_mb,
            limit_mb=limit_mb,
        )


class SchemaError(PerronError):
    """The database's schema is older than this release, or not Perron's."""

    code = "schema"


class NotFoundError(PerronError):
    """Nothing of that kind has this id, for this caller."""

    code = "not_found"
    http_status = 404


class AgentNotFoundError(NotFoundError):
    """No agent has this name."""

    code = "agent_not_found"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        hint = nearest(name, known) or (f" There are: {', '.join(known)}." if known else "")
        where = "" if known else " None is installed: see `perron plugins list` and `perron new`."
        super().__init__(f"There is no agent {name!r}.{hint}{where}", agent=name)


class AssistantNotFoundError(NotFoundError):
    """No assistant has this id."""

    code = "assistant_not_found"

    def __init__(self, assistant_id: object) -> None:
        super().__init__(f"There is no assistant {assistant_id}.", assistant_id=str(assistant_id))


class ThreadNotFoundError(NotFoundError):
    """No thread has this id."""

    code = "thread_not_found"

    def __init__(self, thread_id: object) -> None:
        super().__init__(
            f"There is no thread {thread_id}. `perron threads list` shows those that there are.",
            thread_id=str(thread_id),
        )


class RunNotFoundError(NotFoundError):
    """No run has this id."""

    code = "run_not_found"

    def __init__(self, run_id: object) -> None:
        super().__init__(
            f"There is no run {run_id}. `perron runs list` shows those that there are.", run_id=str(run_id)
        )


class WorkerNotFoundError(NotFoundError):
    """No worker has this id."""

    code = "worker_not_found"

    def __init__(self, worker_id: object) -> None:
        super().__init__(
            f"There is no worker {worker_id}. `perron workers list` shows those that there are.",
            worker_id=str(worker_id),
        )


class CheckpointNotFoundError(NotFoundError):
    """The thread has no checkpoint with this id."""

    code = "checkpoint_not_found"

    def __init__(self, thread_id: object, checkpoint_id: str) -> None:
        super().__init__(
            f"The thread {thread_id} has no checkpoint {checkpoint_id!r}. "
            f"`perron threads history {thread_id}` shows those that it has.",
            thread_id=str(thread_id),
            checkpoint_id=checkpoint_id,
        )


class RunGoneError(RunNotFoundError):
    """The run was there, and has been rolled back, or deleted with its thread."""

    code = "run_gone"

    def __init__(self, run_id: object) -> None:
        super().__init__(run_id)
        self.message = f"The run {run_id} is gone: it was rolled back, or deleted with its thread."
        self.args = (self.message,)


class EventsGoneError(PerronError):
    """What a run has streamed, or a part of it, is not there any more."""

    code = "events_gone"
    http_status = 410

    def __init__(self, run_id: object) -> None:
        super().__init__(
            f"The events of run {run_id} are gone: they are kept for a minute after its end, or with "
            f"`stream_resumable` for longer. `perron runs show {run_id}` has what came of it.",
            run_id=str(run_id),
        )


class AskNotFoundError(NotFoundError):
    """No ask has this id."""

    code = "ask_not_found"

    def __init__(self, ask_id: object) -> None:
        super().__init__(
            f"There is no ask {ask_id}. `perron asks list` shows what waits for a person.", ask_id=str(ask_id)
        )


class CallNotFoundError(NotFoundError):
    """No call has this id."""

    code = "call_not_found"

    def __init__(self, call_id: object) -> None:
        super().__init__(
            f"There is no call {call_id}. `perron calls list` shows those that there are.", call_id=str(call_id)
        )


class CronNotFoundError(NotFoundError):
    """No cron has this id."""

    code = "cron_not_found"

    def __init__(self, cron_id: object) -> None:
        super().__init__(
            f"There is no cron {cron_id}. `perron crons list` shows those that there are.", cron_id=str(cron_id)
        )


class DeliveryNotFoundError(NotFoundError):
    """No webhook delivery has this id."""

    code = "delivery_not_found"

    def __init__(self, delivery_id: object) -> None:
        super().__init__(
            f"There is no webhook delivery {delivery_id}. `perron webhooks list` shows those that there are.",
            delivery_id=str(delivery_id),
        )


class ConnectionNotFoundError(NotFoundError):
    """An integration has no connection that this run may use."""

    code = "connection_not_found"

    def __init__(self, integration: str, name: str | None = None) -> None:
        which = f"connection {name!r}" if name else "connection"
        super().__init__(
            f"The integration {integration!r} has no {which}; "
            f"add one with `perron connections add {integration} --from-env VAR`.",
            integration=integration,
        )


class PluginNotFoundError(NotFoundError):
    """No plugin has this name."""

    code = "plugin_not_found"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no plugin {name!r}.{nearest(name, known)}", plugin=name)


class PauseNotFoundError(NotFoundError):
    """This is not paused."""

    code = "pause_not_found"

    def __init__(self, subject: str, paused: Iterable[str]) -> None:
        paused = list(paused)
        others = f"Paused are: {', '.join(paused)}." if paused else "Nothing is paused."
        super().__init__(f"There is no pause of {subject}. {others}", subject=subject)


class ConflictError(PerronError):
    """The thing is not in a state that allows this."""

    code = "conflict"
    http_status = 409


class AlreadyExistsError(ConflictError):
    """Something has this id already."""

    code = "already_exists"


class ThreadBusyError(ConflictError):
    """The thread has a pending or running run."""

    code = "thread_busy"

    def __init__(self, thread_id: object) -> None:
        super().__init__(
            "Thread is already running a task. Wait for it to finish or choose a different multitask strategy.",
            thread_id=str(thread_id),
        )


class NotWaitingError(ConflictError):
    """An answer to something that does not wait (any more)."""

    code = "not_waiting"


class RunEndedError(ConflictError):
    """The run has ended, so it cannot be cancelled or retried."""

    code = "run_ended"


class CheckpointMovedError(ConflictError):
    """The thread's newest checkpoint is another one than was read at the start."""

    code = "checkpoint_moved"


class AlreadyDeliveredError(ConflictError):
    """The webhook has been delivered: there is nothing to send again."""

    code = "already_delivered"


class InvalidInputError(PerronError):
    """The input is no JSON or does not fit the schema; the message names field and reason."""

    code = "invalid_input"
    http_status = 422


class InternalAddressError(InvalidInputError):
    """A webhook leads to an address that is not for strangers."""

    code = "internal_address"


class PermissionDeniedError(PerronError):
    """The caller lacks a permission."""

    code = "permission_denied"
    http_status = 403


class AgentError(PerronError):
    """An agent's graph cannot be imported, built or compiled."""

    code = "agent"


class PluginError(PerronError):
    """A plugin cannot be loaded, or one of its hooks failed."""

    code = "plugin"


class DefinitionError(PerronError):
    """An integration, an operation or an effect is declared wrongly; raised at definition."""

    code = "definition"


class OutsidePlatformError(PerronError):
    """`integration(...)`, `settings(...)` or `approve(...)` was used where no run is."""

    code = "outside_platform"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} works only inside a run of the platform: start the graph with `Platform.run`; a test opens "
            "a platform with `Platform.open(database_url=...)` on the fixture `database_url` of perron.testing."
        )


class LeaseLostError(PerronError):
    """This worker may not act for the run any more: another has it, or it has ended."""

    code = "lease_lost"


class RunFailedError(PerronError):
    """A run that was waited for ended in `error`, `timeout` or was cancelled."""

    code = "run_failed"


class SealError(PerronError):
    """A secret cannot be sealed or opened: no key, another key, or a moved row."""

    code = "seal"


class IntegrationError(RuntimeError):
    """What an agent sees of a call that did not do what was asked.

    `str(error)` is short and safe for a model; `detail` is the full text for the operator.
    """

    code: ClassVar[str] = "integration"

    def __init__(self, message: str, *, detail: str = "", operation: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail or message
        self.operation = operation
        self.status = status


class AuthFailed(IntegrationError):  # noqa: N818  # the design's names: they read as states of a call
    """401 or 403: the connection's credentials were refused."""

    code = "auth_failed"


class RateLimited(IntegrationError):  # noqa: N818
    """429, or 503 with Retry-After: `retry_after_s` says when to come back."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float | None = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]  # the base's own keywords, handed on
        self.retry_after_s = retry_after_s


class NotFound(IntegrationError):  # noqa: N818
    """404 or 410."""

    code = "not_found"


class Invalid(IntegrationError):  # noqa: N818
    """The arguments, or the API's answer to them, do not fit: other definite 4xx included."""

    code = "invalid"


class Upstream(IntegrationError):  # noqa: N818
    """The API failed: 5xx, no answer, or an answer that cannot be read."""

    code = "upstream"


class ReplayMismatch(IntegrationError):  # noqa: N818
    """The API holds another request under this idempotency key."""

    code = "replay_mismatch"


class EgressBlocked(IntegrationError):  # noqa: N818
    """The address is not one that the integration may reach."""

    code = "egress_blocked"


class CircuitOpen(IntegrationError):  # noqa: N818
    """The API has failed too often; calls wait for it to recover."""

    code = "circuit_open"


class Rejected(IntegrationError):  # noqa: N818
    """A person said no to an approval; the message is theirs."""

    code = "rejected"


class Aborted(IntegrationError):  # noqa: N818
    """A person decided that a call in doubt is not to be made again."""

    code = "aborted"


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.5, prefix: str = "") -> str:
    """Return ` Did you mean …?`, or an empty string when nothing is near.

    Args:
        name: What was given.
        known: What there is.
        cutoff: How much a name has to be alike, from 0 to 1.
        prefix: What all names begin with: it makes none of them alike.
    """
    bare = [each.removeprefix(prefix) for each in known]
    matches = difflib.get_close_matches(name.removeprefix(prefix), bare, n=3, cutoff=cutoff)
    return f" Did you mean {' or '.join(repr(prefix + m) for m in matches)}?" if matches else ""
