"""`@effect`: any function whose effect on the world the journal keeps: a vendor's SDK, SMTP, own SQL."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import re
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import Executor
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from pydantic import BaseModel

from perron.errors import DefinitionError, IntegrationError, OutsidePlatformError, Upstream
from perron.integrations.api.answer import raise_for_status, refusal
from perron.integrations.exchange import (
    FOUND,
    UNREADABLE,
    ActiveCall,
    BeforeBytes,
    CallSpec,
    Effect,
    Exchange,
    NoAnswer,
    NotSent,
    Outgoing,
)
from perron.integrations.operations.invocation import Invocation
from perron.integrations.operations.operation import TIMEOUT_S, check_finder, check_repeat
from perron.integrations.operations.signature import Plan, Signature
from perron.integrations.redact import parse_path
from perron.integrations.repeat import LookUp, Repeat, as_repeat
from perron.integrations.run.context import RunContext

P = ParamSpec("P")
T = TypeVar("T")

_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_marker: ContextVar[str | None] = ContextVar("perron_marker", default=None)
_declared: dict[str, str] = {}


def marker() -> str:
    """Return the mark of the call that an effect's function is making, the same at every try.

    With SameKey it goes to the vendor as idempotency key, with LookUp into what the finder searches for.

    Raises:
        OutsidePlatformError: No effect is being made here.
    """
    found = _marker.get()
    if found is None:
        raise OutsidePlatformError("marker()")
    return found


def declared_effects() -> Collection[str]:
    """Return the keys of all effects that were declared in this process."""
    return _declared.keys()


class DeclaredEffect(Invocation[P, T]):
    """A function under `@effect`: called like the function, and awaited (or `.sync(...)`, `.once("key")(...)`)."""

    def __init__(self, plan: Plan, *, thread: bool) -> None:
        self.key = plan.spec.key
        self.plan = plan
        self._thread = thread

    def __repr__(self) -> str:
        return f"<effect {self.key}>"

    @property
    def description(self) -> str:
        """The docstring."""
        return self.plan.signature.description

    @property
    def arguments(self) -> type[BaseModel]:
        """The arguments as a model."""
        return self.plan.signature.arguments

    def _begin(
        self, context: RunContext, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, T]:
        arguments = self.plan.signature.bind(args, kwargs)
        pending = context.journal.begin(self.plan.spec, arguments.model_dump(mode="json"), once=self._once)
        values = self.plan.signature.values(arguments)

        threads = context.integrations.threads if self._thread else None

        async def body(call: ActiveCall) -> Any:
            return await self._make(call, _Execution(self.plan, values, threads, call.marker))

        return pending.run(body)

    async def _make(self, call: ActiveCall, execution: _Execution) -> Any:
        out = Outgoing(None, None, None, None, self.plan.spec.timeout_s)
        make = call.read if self.plan.spec.effect == "read" else call.send
        exchange = await make(out, execution.run)
        raise_for_status(exchange, operation=self.key)
        return self.plan.signature.load(exchange.body)


class _Execution:
    """One execution of the function, as the journal's transport: the result comes back as JSON."""

    def __init__(self, plan: Plan, values: Mapping[str, Any], threads: Executor | None, mark: str) -> None:
        self._plan = plan
        self._values = values
        self._threads = threads
        self._mark = mark
        self._has_begun = False

    async def run(self, before_bytes: BeforeBytes) -> Exchange:
        """Execute once, within the deadline."""
        token = _marker.set(self._mark)
        try:
            async with asyncio.timeout(self._plan.spec.timeout_s):
                if self._threads is None:
                    return await self._here(before_bytes)
                work = partial(contextvars.copy_context().run, self._there, before_bytes)
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError as exc:
            # A thread goes on: what it does is not known.
            detail = f"no result within {self._plan.spec.timeout_s:g} s"
            raise (NoAnswer(detail) if self._has_begun else NotSent(detail)) from exc
        finally:
            _marker.reset(token)

    async def _here(self, before_bytes: BeforeBytes) -> Exchange:
        before_bytes()
        self._has_begun = True
        try:
            return self._result(await self._plan.function(**self._values))
        except Exception as exc:  # noqa: BLE001  # a door to others' code: what it raises is an outcome
            return _failed(exc)

    def _there(self, before_bytes: BeforeBytes) -> Exchange:
        before_bytes()
        self._has_begun = True
        try:
            return self._result(self._plan.function(**self._values))
        except Exception as exc:  # noqa: BLE001  # as above
            return _failed(exc)

    def _result(self, result: object) -> Exchange:
        try:
            return Exchange(200, {}, self._plan.signature.dump(result))
        except Upstream as exc:
            return Exchange(200, {UNREADABLE: exc.detail}, b"")


def _failed(exc: Exception) -> Exchange:
    """Return the answer that an exception of the function stands for, or raise what is known of it."""
    if isinstance(exc, NotSent):
        raise exc
    answer = refusal(exc) if isinstance(exc, IntegrationError) else None
    if answer is None:
        raise NoAnswer(f"{type(exc).__name__}: {exc}"[:500]) from exc
    return answer


class _Async(Protocol):
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> DeclaredEffect[P, T]: ...


class _Threaded(Protocol):
    def __call__(self, function: Callable[P, T], /) -> DeclaredEffect[P, T]: ...


@overload
def effect(
    key: str,
    *,
    repeat: Repeat | type[Repeat] | None = None,
    effect: Effect = "create",
    thread: Literal[False] = False,
    timeout_s: float = TIMEOUT_S,
    redact: tuple[str, ...] = (),
    freeze: bool = False,
) -> _Async: ...


@overload
def effect(
    key: str,
    *,
    repeat: Repeat | type[Repeat] | None = None,
    effect: Effect = "create",
    thread: Literal[True],
    timeout_s: float = TIMEOUT_S,
    redact: tuple[str, ...] = (),
    freeze: bool = False,
) -> _Threaded: ...


def effect(
    key: str,
    *,
    repeat: Repeat | type[Repeat] | None = None,
    effect: Effect = "create",
    thread: bool = False,
    timeout_s: float = TIMEOUT_S,
    redact: tuple[str, ...] = (),
    freeze: bool = False,
) -> Any:
    """Declare a function as something that agents do to the world.

    What it raises counts as "it may have happened", but for `NotSent` (provably nothing was done) and `NotFound`,
    `Invalid`, `AuthFailed`, `RateLimited` (refused, nothing was done).

    Args:
        key: Its name in the journal and in `uses`: `crm.create_lead`.
        repeat: How a repeat is made safe; everything but a read needs one. The key or marker is `marker()`.
        effect: What it does: `create` unless named.
        thread: The function is a sync one and runs in a thread of its own.
        timeout_s: Deadline of one execution. A thread cannot be stopped; what it does after that is not known.
        redact: JSONPaths over arguments and result whose values the journal does not show.
        freeze: Record a read before it is used.

    Raises:
        DefinitionError: The declaration is incomplete or contradicts itself.
    """

    def declare(function: Callable[..., Any]) -> Any:
        if not _KEY.fullmatch(key):
            raise DefinitionError(f"The effect {key!r} needs a key like crm.create_lead.")
        if thread == inspect.iscoroutinefunction(function):
            kind = "a sync function: write `def`, or drop thread=True" if thread else "`async def`, or thread=True"
            raise DefinitionError(f"{key} has to be {kind}.")
        how = as_repeat(repeat, where=key)
        check_repeat(key, effect, how, freeze=freeze)
        signature = Signature(function, where=key)
        if signature.is_paged:
            raise DefinitionError(f"{key} yields a list: return one instead.")
        for path in redact:
            parse_path(path)
        _claim(key, function)
        spec = CallSpec(
            key=key,
            effect=effect,
            repeat=how,
            timeout_s=timeout_s,
            redact=redact,
            output=signature.output,
            freeze=freeze,
            find=_finder(key, how, signature),
        )
        return DeclaredEffect(Plan(function, signature, spec), thread=thread)

    return declare


def _claim(key: str, function: Callable[..., Any]) -> None:
    place = f"{function.__code__.co_filename}:{function.__qualname__}"  # the same when a file is loaded again
    if _declared.setdefault(key, place) != place:
        raise DefinitionError(f"There are two effects {key}: in {_declared[key]} and in {place}.")


def _finder(
    key: str, repeat: Repeat | None, signature: Signature
) -> Callable[[str], Coroutine[Any, Any, Exchange | None]] | None:
    if not isinstance(repeat, LookUp):
        return None
    check_finder(key, repeat, ("marker",))

    async def find(mark: str) -> Exchange | None:
        found = await repeat.finder(mark)
        return None if found is None else Exchange(200, {FOUND: "1"}, signature.dump(found))

    return find
