"""A function as it is declared: its signature as schemas, and what is known of it before it is used."""

from __future__ import annotations

import inspect
import typing
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, SchemaError

from perron.errors import DefinitionError, Invalid, Upstream
from perron.integrations.api.answer import explain
from perron.integrations.exchange import CallSpec

_PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_ITERATORS = (AsyncIterator, AsyncGenerator, AsyncIterable)


class Signature:
    """Arguments as a pydantic model, the result as a type adapter, the docstring as a description."""

    def __init__(self, function: Callable[..., Any], *, where: str, given: tuple[str, ...] = ()) -> None:
        """Read a function. `given` are its first parameters, which are not arguments: `self` and `api`.

        Raises:
            DefinitionError: Something lacks an annotation, or cannot be written as JSON; the sentence says what.
        """
        self.where = where
        self.description = _description(function, where)
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if len(parameters) < len(given):
            raise DefinitionError(f"{where} takes {' and '.join(given)} first.")
        self._parameters = inspect.Signature(parameters[len(given) :])
        hints = _hints(function, where)
        if "return" not in hints:
            raise DefinitionError(f"{where} has no return annotation: it is the output's schema.")
        self.returns = hints["return"]
        self.is_paged = inspect.isasyncgenfunction(function) or typing.get_origin(self.returns) in _ITERATORS
        if self.is_paged:
            self.returns = (typing.get_args(self.returns) or (Any,))[0]
        self.arguments = _model(self._parameters, hints, where)
        self.output = _adapter(self.returns, where)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> BaseModel:
        """Check arguments as the function would get them.

        Raises:
            Invalid: One is missing, unknown or does not fit; the message says which and why.
        """
        try:
            bound = self._parameters.bind(*args, **kwargs)
        except TypeError as exc:
            raise Invalid(f"{self.where}: {exc}.", operation=self.where) from None
        try:
            return self.arguments.model_validate(bound.arguments)
        except ValidationError as exc:
            raise Invalid(f"{self.where}: {explain(exc)}.", operation=self.where) from None

    def values(self, arguments: BaseModel) -> dict[str, Any]:
        """Return the arguments by name, as the function takes them."""
        return {name: getattr(arguments, name) for name in self.arguments.model_fields}

    def fit(self, result: Any) -> Any:
        """Return a result as the declared type.

        Raises:
            Upstream: It does not fit. What was done is done: this is never sent again.
        """
        try:
            return self.output.validate_python(result)
        except ValidationError as exc:
            raise self._unfit(explain(exc)) from None

    def load(self, body: bytes) -> Any:
        """Read a result from JSON.

        Raises:
            Upstream: It does not fit.
        """
        try:
            return self.output.validate_json(body)
        except ValidationError as exc:
            raise self._unfit(explain(exc)) from None

    def dump(self, result: Any) -> bytes:
        """Write a result as JSON.

        Raises:
            Upstream: It does not fit, or JSON cannot hold it.
        """
        try:
            return self.output.dump_json(self.fit(result), warnings="error")
        except PydanticSerializationError as exc:
            raise self._unfit(str(exc)) from None

    def _unfit(self, reason: str) -> Upstream:
        return Upstream(
            f"{self.where}: the result is not what was declared.",
            detail=f"{self.where}: the result does not fit its return annotation: {reason}",
            operation=self.where,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The function, its schemas, and how the journal keeps its calls."""

    function: Callable[..., Any]
    signature: Signature
    spec: CallSpec


def _description(function: Callable[..., Any], where: str) -> str:
    description = inspect.getdoc(function)
    if not description:
        raise DefinitionError(f"{where} has no docstring: it is what a model reads.")
    return description


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise DefinitionError(
            f"{where}: the annotation {exc.name!r} cannot be resolved; define or import it at the top of the "
            "module, not under TYPE_CHECKING."
        ) from None


def _model(signature: inspect.Signature, hints: Mapping[str, Any], where: str) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind not in _PLAIN or name.startswith("_"):
            raise DefinitionError(f"{where}: the parameter {name!r} has to be a plain named one.")
        if name not in hints:
            raise DefinitionError(f"{where}: the parameter {name!r} has no annotation.")
        fields[name] = (hints[name], ... if parameter.default is parameter.empty else parameter.default)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an argument may be called `schema` or `json`
            model: type[BaseModel] = create_model(
                "".join(part.title() for part in where.replace(".", "_").split("_")) + "Arguments",
                __config__=ConfigDict(extra="forbid", protected_namespaces=()),
                **fields,
            )
            model.model_json_schema()
    except (PydanticUserError, SchemaError) as exc:
        raise DefinitionError(f"{where}: an argument cannot be written as JSON: {_first_line(exc)}.") from None
    return model


def _adapter(returns: Any, where: str) -> TypeAdapter[Any]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(returns)
        adapter.json_schema(mode="serialization")
    except (PydanticUserError, SchemaError) as exc:
        raise DefinitionError(f"{where}: its result cannot be written as JSON: {_first_line(exc)}.") from None
    return adapter


def _first_line(exc: Exception) -> str:
    return str(exc).splitlines()[0].rstrip(".")
