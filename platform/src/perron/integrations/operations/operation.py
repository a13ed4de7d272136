"""`@operation`: what an integration can do, as declared."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from pydantic import BaseModel, TypeAdapter

from perron.errors import DefinitionError
from perron.integrations.api.api import Api
from perron.integrations.exchange import DEFINITE, CallSpec, Effect
from perron.integrations.integration import Integration
from perron.integrations.operations.bound import AnyIntegration, BoundOperation, BoundPages
from perron.integrations.operations.signature import Plan, Signature
from perron.integrations.repeat import LookUp, Repeat, as_repeat

P = ParamSpec("P")
T = TypeVar("T")
N = TypeVar("N", bound=AnyIntegration)

EFFECTS = ("read", "create", "update", "delete")
TIMEOUT_S = 30.0
_COUNTED: TypeAdapter[Any] = TypeAdapter(dict[str, int])


class Declared:
    """What operations of both kinds share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.owner: type[AnyIntegration] = Integration
        """The integration that it is read from."""
        self._owned: dict[type[AnyIntegration], Self] = {}

    @property
    def key(self) -> str:
        """`<integration>.<operation>`."""
        return self.plan.spec.key

    @property
    def description(self) -> str:
        """The docstring."""
        return self.plan.signature.description

    @property
    def effect(self) -> Effect:
        """What it does to the world."""
        return self.plan.spec.effect

    @property
    def repeat(self) -> Repeat | None:
        """How a repeat is made safe; none for reads."""
        return self.plan.spec.repeat

    @property
    def arguments(self) -> type[BaseModel]:
        """The arguments as a model."""
        return self.plan.signature.arguments

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key}>"

    def of(self, integration: type[AnyIntegration]) -> Self:
        """Return this operation as an integration's own: a subclass with another key has others."""
        if integration in self._owned:
            return self._owned[integration]
        key = f"{integration.key}.{self.plan.function.__name__}"
        own = copy.copy(self)
        signature = copy.copy(self.plan.signature)
        signature.where = key
        spec = dataclasses.replace(self.plan.spec, key=key, integration=integration.key, redact=integration.redact)
        own.owner = integration
        own.plan = Plan(self.plan.function, signature, spec)
        self._owned[integration] = own
        return own


class Operation(Declared, Generic[P, T]):
    """An operation with one result."""

    @overload
    def __get__(self, instance: None, owner: type[AnyIntegration]) -> Self: ...

    @overload
    def __get__(self, instance: AnyIntegration, owner: type[AnyIntegration]) -> BoundOperation[P, T]: ...

    def __get__(self, instance: AnyIntegration | None, owner: type[AnyIntegration]) -> Self | BoundOperation[P, T]:
        own = self.of(owner)
        return own if instance is None else BoundOperation(own.plan, instance)


class PagedOperation(Declared, Generic[P, T]):
    """A read that yields the items of a list."""

    @overload
    def __get__(self, instance: None, owner: type[AnyIntegration]) -> Self: ...

    @overload
    def __get__(self, instance: AnyIntegration, owner: type[AnyIntegration]) -> BoundPages[P, T]: ...

    def __get__(self, instance: AnyIntegration | None, owner: type[AnyIntegration]) -> Self | BoundPages[P, T]:
        own = self.of(owner)
        return own if instance is None else BoundPages(own.plan, instance)


class _Decorator(Protocol):
    """Turns a method into an operation and keeps its types."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[N, Api, P], Coroutine[Any, Any, T]], /
    ) -> Operation[P, T]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[N, Api, P], AsyncIterator[T]], /
    ) -> PagedOperation[P, T]: ...


def operation(
    *,
    effect: Effect,
    repeat: Repeat | type[Repeat] | None = None,
    timeout_s: float = TIMEOUT_S,
    freeze: bool = False,
    definite: Collection[int] = DEFINITE,
) -> _Decorator:
    """Declare a method of an integration as something that agents can do.

    Its signature is the schema of the arguments, its return annotation that of the result, and its docstring is
    what a model reads. An async generator is a paged read.

    Args:
        effect: `read`, `create`, `update` or `delete`.
        repeat: How a write is made safe to repeat: SameKey, LookUp, Harmless or AskPerson. Writes need one.
        timeout_s: Deadline of one attempt, connecting included.
        freeze: Record a read before it is used, so that a run that comes back sees the same.
        definite: Statuses that are a recorded answer: nothing was done, and asking again would not change that.

    Raises:
        DefinitionError: The declaration is incomplete or contradicts itself; the sentence says where.
    """

    def declare(function: Callable[..., Any]) -> Any:
        where = getattr(function, "__qualname__", repr(function)).rpartition("<locals>.")[2]
        if not inspect.iscoroutinefunction(function) and not inspect.isasyncgenfunction(function):
            raise DefinitionError(f"{where} is no async function: write `async def`.")
        how = as_repeat(repeat, where=where)
        check_repeat(where, effect, how, freeze=freeze)
        if isinstance(how, LookUp):
            check_finder(where, how, ("self", "api", "marker"))
        signature = Signature(function, where=where, given=("self", "api"))
        if signature.is_paged and (effect != "read" or freeze):
            raise DefinitionError(f"{where} yields a list: that is a read, and one that cannot be frozen.")
        spec = CallSpec(
            key=where,
            effect=effect,
            repeat=how,
            timeout_s=timeout_s,
            definite=frozenset(definite),
            output=_COUNTED if signature.is_paged else signature.output,
            freeze=freeze,
        )
        kind = PagedOperation if signature.is_paged else Operation
        return kind(Plan(function, signature, spec))

    return declare


def check_repeat(where: str, effect: str, repeat: Repeat | None, *, freeze: bool = False) -> None:
    """Refuse a write that does not say how it is repeated, and a read that does.

    Raises:
        DefinitionError: The sentence says what is missing.
    """
    if effect not in EFFECTS:
        raise DefinitionError(f"{where}: effect is one of {', '.join(EFFECTS)}, not {effect!r}.")
    if effect == "read" and repeat is not None:
        raise DefinitionError(f"{where} is a read: reads are repeated freely and take no `repeat`.")
    if effect != "read" and repeat is None:
        raise DefinitionError(
            f"{where} writes and does not say how a repeat is made safe: "
            "add repeat=SameKey(…), LookUp(…), Harmless or AskPerson."
        )
    if effect != "read" and freeze:
        raise DefinitionError(f"{where} writes, and writes are always recorded: `freeze` is for reads.")


def check_finder(where: str, repeat: LookUp, takes: tuple[str, ...]) -> None:
    """Refuse a finder that could not be called.

    Raises:
        DefinitionError: It is no async function of these parameters.
    """
    finder = repeat.finder
    if not inspect.iscoroutinefunction(finder) or len(inspect.signature(finder).parameters) != len(takes):
        raise DefinitionError(f"{where}: the finder of LookUp has to be `async def find({', '.join(takes)})`.")


def operations_of(integration: type[AnyIntegration]) -> dict[str, Declared]:
    """Return an integration's operations by name, in the order of their declaration."""
    found: dict[str, Declared] = {}
    for cls in reversed(integration.__mro__):
        found |= {name: each.of(integration) for name, each in vars(cls).items() if isinstance(each, Declared)}
    return found
