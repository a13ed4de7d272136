"""`Agent`: a graph and what the platform needs to know of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

from perron.errors import DefinitionError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Granted(Protocol):
    """What an agent may be granted: an operation (`desk.refund`) or an effect (`crm.create_lead`)."""

    @property
    def key(self) -> str:
        """`<integration>.<operation>`, or the effect's name."""


@dataclass(frozen=True, eq=False)
class Agent:
    """A LangGraph graph as the platform runs it; its name is the SDK's `graph_id`.

    Args:
        name: Letters, digits, `-`, `_` and `.`; unique over all installed agents.
        build: A compiled graph, a `StateGraph`, or a factory that returns one. A factory takes up to two
            arguments, `config: RunnableConfig` and `runtime: ServerRuntime`, found by annotation, by name, or by
            place; it may be async, and may be a context manager that is left when the run has ended.
        description: One line for people and for models that choose among agents.
        settings: Its settings: a pydantic model whose fields operators change while the platform runs. Each field
            has a default, or operators must set it before the first run.
        uses: The operations and effects that it may use, at most; None narrows nothing.

    Raises:
        DefinitionError: A name or type does not fit.
    """

    name: str
    build: Any
    description: str = ""
    settings: type[BaseModel] | None = None
    uses: Sequence[Granted] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"An agent cannot be called {self.name!r}: use letters, digits, '-', '_' and '.', "
                "a letter or a digit first."
            )
        if self.settings is not None and not (
            isinstance(self.settings, type) and issubclass(self.settings, BaseModel)
        ):
            raise DefinitionError(f"The settings of agent {self.name!r} are no pydantic model: {self.settings!r}.")
        for name, field in self.settings.model_fields.items() if self.settings else ():
            if {SecretStr, SecretBytes} & {field.annotation, *get_args(field.annotation)}:
                # Settings are frozen into every run, and people see them.
                raise DefinitionError(
                    f"The setting {name!r} of agent {self.name!r} is a secret: secrets belong to a connection."
                )
        for used in self.uses or ():
            if not isinstance(getattr(used, "key", None), str):
                raise DefinitionError(
                    f"The agent {self.name!r} lists {used!r} in `uses`, "
                    "which is neither an operation nor an effect."
                )

    @property
    def grants(self) -> frozenset[str] | None:
        """The keys of what it may use; None where `uses` narrows nothing."""
        return None if self.uses is None else frozenset(used.key for used in self.uses)
