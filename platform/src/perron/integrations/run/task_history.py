"""What a node did at its earlier attempts, and which of it a call is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from perron.integrations.run.slot import family
from perron.repositories.recorded import RecordedCall


@dataclass(eq=False, slots=True)
class Place:
    """Where a call stands in its node attempt; `ordinal` counts within tool call and operation, from 1."""

    tool_call_id: str
    operation: str
    ordinal: int
    fingerprint: bytes
    is_matched: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """What is known of a call before it is made."""

    slot: str
    """The last part of its slot: `#1`, or `#1/2` beside another call that was recorded there."""
    row: RecordedCall | None = None
    """The same call, recorded earlier."""
    rival: RecordedCall | None = None
    """Another write that was made where this call stands now."""


class TaskHistory:
    """The rows of one task, matched with the calls of one attempt of it.

    A row is used once in an attempt, together with the rows beside it: those are one place of the code, tried with
    different arguments.
    """

    def __init__(self, task_id: str, rows: Iterable[RecordedCall]) -> None:
        self._own: list[RecordedCall] = []
        self._of_others: list[RecordedCall] = []
        for row in rows:
            is_own = row.task_id == task_id and not row.is_set_aside
            (self._own if is_own else self._of_others).append(row)
        self._used: set[tuple[str, str, str]] = set()

    def match(self, place: Place, waiting: Sequence[Place]) -> Match:
        """Find out which recorded call a call is, and use that up.

        `waiting` are the places of this attempt that are not matched yet, in the order of the code, this one
        included: what fits another of them exactly is not this one's. Under `asyncio.gather` all have begun
        before any runs.
        """
        meant: dict[Place, RecordedCall] = {}
        for is_exact in (True, False):
            for other in waiting:
                if other not in meant and (row := self._same(other, meant.values(), is_exact=is_exact)):
                    meant[other] = row
        place.is_matched = True
        taken = {row.call_id for row in meant.values()}
        row = meant.get(place)
        if row is not None:
            beside = [r for r in self._unused(place) if family(r.slot) == family(row.slot)]
            rival = next((r for r in beside if r.may_have_acted), None) if row.is_question else None
            self._use(row)
            return Match(row.slot, row=row, rival=rival)
        rival = self._rival(place, taken)
        slot = f"#{place.ordinal}" if rival is None else family(rival.slot)
        if rival is not None:
            self._use(rival)
        return Match(self._free(place, slot), rival=rival)

    def left_behind(
        self, operation: str, fingerprint: bytes, checkpoints: Mapping[str, str]
    ) -> RecordedCall | None:
        """Return the same write by another task of the node, in a superstep that was never applied, or by any task
        of a run that was rolled back or of the thread that this one was copied from.
        """
        for row in self._of_others:
            if (
                row.may_have_acted
                and (row.operation, row.fingerprint) == (operation, fingerprint)
                and (row.is_set_aside or is_other_superstep(row.checkpoints, checkpoints))
            ):
                return row
        return None

    def _same(self, place: Place, taken: Iterable[RecordedCall], *, is_exact: bool) -> RecordedCall | None:
        ids = {row.call_id for row in taken}
        for row in self._unused(place):
            if row.fingerprint != place.fingerprint or row.call_id in ids:
                continue
            if not is_exact or family(row.slot) == f"#{place.ordinal}":
                return row
        return None

    def _rival(self, place: Place, taken: set[UUID]) -> RecordedCall | None:
        rivals = [r for r in self._unused(place) if r.may_have_acted and r.call_id not in taken]
        here = (r for r in rivals if family(r.slot) == f"#{place.ordinal}")
        return next(here, rivals[0] if rivals else None)

    def _free(self, place: Place, slot: str) -> str:
        beside = [r.slot for r in self._group(place) if family(r.slot) == slot]
        return f"{slot}/{len(beside) + 1}" if beside else slot

    def _group(self, place: Place) -> list[RecordedCall]:
        return [
            row for row in self._own if (row.tool_call_id, row.operation) == (place.tool_call_id, place.operation)
        ]

    def _unused(self, place: Place) -> list[RecordedCall]:
        return [row for row in self._group(place) if self._key(row) not in self._used]

    def _use(self, row: RecordedCall) -> None:
        self._used.add(self._key(row))

    @staticmethod
    def _key(row: RecordedCall) -> tuple[str, str, str]:
        return row.tool_call_id, row.operation, family(row.slot)


def is_other_superstep(theirs: Mapping[str, str] | None, ours: Mapping[str, str]) -> bool:
    """Whether two tasks started from different checkpoints in a namespace that both are in.

    Tasks of one superstep share theirs, also from within different subgraphs. Unknown counts as different: better
    a question too many.
    """
    shared = (theirs or {}).keys() & ours.keys()
    return not shared or any((theirs or {})[namespace] != ours[namespace] for namespace in shared)
