"""Values of answers, held against what the ask says of them: what does not fit would only ask again."""

from __future__ import annotations

import json
import re
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from perron.errors import InvalidInputError, nearest
from perron.integrations.redact import REDACTED
from perron.models.ask import Ask
from perron.runtime.inputs import kind_of

_SHOWN_CHARS = 200


def check_value(ask: Ask, decision: str, value: Any) -> None:
    """Refuse a value of `edit`, `respond` or `give_result` that cannot be what the ask is about.

    It is held against the ask's JSON schema. An edit without one keeps the fields and JSON types of what it edits:
    null fits only where it was null, and there anything does, since nobody knows more of the type.

    Raises:
        InvalidInputError: One sentence that names the field.
    """
    problem = _misfit(ask.answer_schema, value) if ask.answer_schema else None
    if problem is None and decision == "edit":
        problem = _edit_problem(ask, value)
    if problem is not None:
        raise InvalidInputError(f"The value of the decision {decision!r} {problem}", ask_id=str(ask.ask_id))


def check_finite(ask: Ask, decision: str, value: Any) -> None:
    """Refuse NaN and infinities, which would be stored as null.

    Raises:
        InvalidInputError: The value has one.
    """
    try:
        json.dumps(value, allow_nan=False, default=str)
    except ValueError:
        raise InvalidInputError(
            f"The value of the decision {decision!r} holds a number that is not finite: JSON knows none.",
            ask_id=str(ask.ask_id),
        ) from None


def _misfit(schema: dict[str, Any], value: Any) -> str | None:
    # With a registry of its own the validator fetches nothing that a schema refers to.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except (SchemaError, Unresolvable, re.error):
        return None  # pydantic's patterns know more than Python's: the call itself checks the value again
    if error is None:
        return None
    where = ".".join(str(part) for part in error.absolute_path)
    reason = error.message if len(error.message) <= _SHOWN_CHARS else f"{error.message[:_SHOWN_CHARS]}…"
    return f"does not fit{f' at {where}' if where else ''}: {reason}."


def _edit_problem(ask: Ask, value: Any) -> str | None:
    original, schema = ask.arguments, ask.answer_schema
    if original is None:
        return None
    if not isinstance(original, dict) or not isinstance(value, dict):
        return None if schema or _is_alike(original, value) else f"does not fit: it takes {_expected(original)}."
    known = original.keys() | (schema or {}).get("properties", {}).keys()
    takes_more = schema is not None and bool(schema.get("additionalProperties"))
    if not takes_more and (unknown := sorted(value.keys() - known)):
        return f"has the unknown field {unknown[0]!r}.{nearest(unknown[0], known)}"
    if not schema and (missing := sorted(known - value.keys())):
        return f"lacks the field {missing[0]!r}."
    for field, was in original.items():
        if field not in value:
            continue
        if was == REDACTED:
            if value[field] == REDACTED:
                return f"still hides {field}: write its real value, or approve."
        elif not schema and not _is_alike(was, value[field]):
            return f"does not fit at {field}: it takes {kind_of(was)}, not {kind_of(value[field])}."
    return None


def _is_alike(original: Any, value: Any) -> bool:
    return original is None or kind_of(original) == kind_of(value)


def _expected(original: Any) -> str:
    fields = f" with the fields {', '.join(sorted(original))}" if isinstance(original, dict) and original else ""
    return f"{kind_of(original)}{fields}"
