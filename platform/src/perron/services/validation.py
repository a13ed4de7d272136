"""What pydantic has against something given, as an error of ours."""

from __future__ import annotations

from pydantic import ValidationError

from perron.errors import InvalidInputError


def as_invalid_input(exc: ValidationError) -> InvalidInputError:
    """Return the first problem in one sentence."""
    problem = exc.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    return InvalidInputError(f"The option {field or 'input'} does not fit: {problem['msg']}.", field=field)
