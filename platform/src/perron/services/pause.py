"""Rules of pauses: stopping agents, integrations and connections for a while, and letting them go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import (
    AgentNotFoundError,
    InvalidInputError,
    PauseNotFoundError,
    PermissionDeniedError,
    UnknownNameError,
)
from perron.integrations.operations.effect import declared_effects
from perron.models.pause import Pause, PauseKind
from perron.models.run import Run
from perron.plugins.registry import Registry
from perron.repositories.agent import AgentRepository
from perron.repositories.connection import ConnectionRepository
from perron.repositories.pause import PauseRepository


@dataclass(frozen=True, slots=True)
class PauseView:
    """A pause, and how much waits for it."""

    pause: Pause
    runs: int
    """How many runs it keeps in line."""


class PauseService:
    """Pauses of the caller's tenant. All processes go by them within their `poll_s`."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry

    async def pause(self, caller: Caller, kind: PauseKind, name: str = "", *, reason: str) -> Pause:
        """Let nothing of this be begun; of what is paused already, change the reason.

        Runs of an agent go back in line at their next step, runs that come to a call before that call. Nothing is
        lost, and no attempt counted.

        Args:
            name: The agent's or integration's; of a connection `integration/name`; nothing for `all`.

        Raises:
            AgentNotFoundError, UnknownNameError: There is no such thing; the message brings the nearest names.
            InvalidInputError: The reason is empty.
            PermissionDeniedError: Only admins may.
        """
        _require_admin(caller)
        if not reason.strip():
            raise InvalidInputError("A pause needs a reason: others see it where they look for their runs.")
        async with self._database.begin() as session:
            if kind == "agent":
                known = [row.graph_id for row in await AgentRepository(session, caller).get_sorted()]
                if name not in known:
                    raise AgentNotFoundError(name, known)
            elif kind == "connection":
                rows = await ConnectionRepository(session, caller).get_all(limit=1000)
                _require("connection", name, {f"{row.integration}/{row.name}" for row in rows})
            elif kind == "integration":
                effects = (key.partition(".")[0] for key in declared_effects())
                _require("integration", name, {*self._registry.integrations, *effects})
            return await PauseRepository(session, caller).put(kind, name, reason=reason.strip())

    async def unpause(self, caller: Caller, kind: PauseKind, name: str = "") -> None:
        """Let something go on: what waits for it is claimed at the workers' next look.

        Raises:
            PauseNotFoundError: It is not paused; the message names what is.
            PermissionDeniedError: Only admins may.
        """
        _require_admin(caller)
        async with self._database.begin() as session:
            pauses = PauseRepository(session, caller)
            if not await pauses.remove(kind, name):
                paused = [pause.subject for pause in await pauses.get_sorted()]
                raise PauseNotFoundError(Pause(kind=kind, name=name).subject, paused)

    async def list(self, caller: Caller) -> Sequence[Pause]:
        """Return what is paused, the oldest first."""
        async with self._database.begin() as session:
            return await PauseRepository(session, caller).get_sorted()

    async def list_with_runs(self, caller: Caller) -> Sequence[PauseView]:
        """Return what is paused, the oldest first, each with the number of runs that wait for it."""
        async with self._database.begin() as session:
            pauses = PauseRepository(session, caller)
            counts = await pauses.count_held()
            return [PauseView(pause, counts.get(pause.pause_id, 0)) for pause in await pauses.get_sorted()]


def holding(run: Run, pauses: Iterable[Pause]) -> Pause | None:
    """Return the pause that keeps a run in line; the rule is that of `repositories.pause.holds`."""
    if run.status != "pending":
        return None
    return next(
        (
            pause
            for pause in pauses
            if pause.pause_id == run.parked_by
            or (pause.kind, pause.name) in (("all", ""), ("agent", run.graph_id))
        ),
        None,
    )


def _require(kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise UnknownNameError(kind, name, sorted(known))


def _require_admin(caller: Caller) -> None:
    if not caller.is_admin:
        raise PermissionDeniedError("Only admins may pause things and let them go on.")
