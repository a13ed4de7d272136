"""Packing: token events that follow each other become one row, from which each comes out again as it was.

Not one merged message: who has read half of it would get that half once more, and clients append what they get.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

from perron.models.run_event import RunEvent

TOKEN_EVENT = "messages"  # noqa: S105  # of a language model
MOST = 500
"""Events in one row."""

Position = tuple[int, int]
"""Epoch and number: where in a run's events one stands."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a run as its readers get it."""

    epoch: int
    n: int
    event: str
    namespace: str
    payload: Any

    @property
    def position(self) -> Position:
        """Where it stands: ordered as the events are."""
        return self.epoch, self.n


def unpack(row: RunEvent) -> Iterator[StreamEvent]:
    """Yield the events that a row holds: one, unless it is packed."""
    if row.n_first == row.n:
        yield StreamEvent(row.epoch, row.n, row.event, row.namespace, row.payload)
        return
    packed: Any = row.payload
    bases = packed["bases"]
    for n, (base, changes) in enumerate(packed["tokens"], start=row.n_first):
        namespace, message, about = bases[base]
        yield StreamEvent(row.epoch, n, row.event, namespace, [{**message, **changes}, about])


def pack(rows: Sequence[RunEvent]) -> list[RunEvent]:
    """Return one row for each series of token events without a gap; rows of which there is no series are left out.

    Args:
        rows: Token events of one run that are not packed, in order.
    """
    return [_packed(series) for series in _series(rows) if len(series) > 1]


def _series(rows: Sequence[RunEvent]) -> Iterator[list[RunEvent]]:
    series: list[RunEvent] = []
    for row in rows:
        last = series[-1] if series else None
        if last is not None and (row.epoch, row.n) == (last.epoch, last.n + 1) and len(series) < MOST:
            series.append(row)
            continue
        yield series
        series = [row]
    yield series


def _packed(series: Sequence[RunEvent]) -> RunEvent:
    """Write what all tokens of a message have in common once: nearly all of it."""
    bases: list[tuple[str, dict[str, Any], Any]] = []
    base_of: dict[tuple[str, Any], int] = {}
    tokens: list[tuple[int, dict[str, Any]]] = []
    for row in series:
        payload: Any = row.payload
        message, about = payload
        key = (row.namespace, message.get("id"))
        base = base_of.get(key)
        if base is None or bases[base][1].keys() != message.keys() or not _same(bases[base][2], about):
            base = base_of[key] = len(bases)
            bases.append((row.namespace, message, about))
        common = bases[base][1]
        tokens.append((base, {name: value for name, value in message.items() if not _same(common[name], value)}))
    first, last = series[0], series[-1]
    return RunEvent(
        run_id=first.run_id,
        epoch=first.epoch,
        n=last.n,
        n_first=first.n,
        event=first.event,
        namespace="",
        payload={"bases": bases, "tokens": tokens},
        created_at=first.created_at,
    )


def _same(one: Any, other: Any) -> bool:
    """Whether readers see no difference: Python finds 0, 0.0 and False equal."""
    return one is other or (one == other and dumps(one, sort_keys=True) == dumps(other, sort_keys=True))
