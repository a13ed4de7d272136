"""`typing.TypedDict` for Pydantic on Python 3.11, which takes only that of typing_extensions there."""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, is_typeddict

import typing_extensions


def portable(annotation: Any) -> Any:
    """Return a type in which every `typing.TypedDict`, at any depth, is one of typing_extensions."""
    if is_typeddict(annotation):
        return _rebuilt(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(portable(arguments[0]), *annotation.__metadata__)]
    if origin in (Union, types.UnionType):
        return Union[tuple(portable(argument) for argument in arguments)]  # noqa: UP007  # made at run time
    if isinstance(origin, type) and arguments:
        return types.GenericAlias(origin, tuple(portable(argument) for argument in arguments))
    return annotation


def _rebuilt(typed_dict: Any) -> Any:
    fields = {}
    for name, hint in typing.get_type_hints(typed_dict, include_extras=True).items():
        origin = get_origin(hint)
        plain = portable(get_args(hint)[0] if origin in (Required, NotRequired) else hint)
        # `__required_keys__` does not see qualifiers in annotations that are text.
        is_required = origin is Required or (origin is not NotRequired and name in typed_dict.__required_keys__)
        fields[name] = plain if is_required else NotRequired[plain]
    make: Any = typing_extensions.TypedDict  # a functional call that mypy wants literal
    return make(typed_dict.__name__, fields)
