"""`settings(Config)`: an agent's settings, as they were when its run was created."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from perron.errors import DefinitionError
from perron.integrations.run.context import current_run

C = TypeVar("C", bound=BaseModel)


def settings(config: type[C]) -> C:
    """Return the settings of the agent whose run this code executes in.

    They are frozen at the run's creation: a change in between, or a restart, gives no other values to a run.

    Args:
        config: The model that the agent is declared with: `Agent(..., settings=Config)`.

    Raises:
        OutsidePlatformError: There is no run.
        DefinitionError: The agent is declared with other settings, or without any.
    """
    run = current_run("settings(...)")
    values = run.settings.get("agent", {})
    if config.model_fields and not values.keys() & config.model_fields.keys():
        raise DefinitionError(
            f"The agent {run.graph_id!r} has no settings {config.__name__}: "
            f"declare it with `Agent({run.graph_id!r}, ..., settings={config.__name__})`."
        )
    try:
        return config.model_validate(values, by_name=True)
    except ValidationError as exc:
        problem = exc.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise DefinitionError(
            f"The settings that this run of {run.graph_id!r} began with do not fit {config.__name__}: "
            f"{name}: {problem['msg']}."
        ) from None
