"""The verdict: from the ledger and Perron's tables, what became of all that was accepted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from tests.soak.ledger import Entry
from tests.soak.load import Accepted
from tests.soak.site import Site

TERMINAL = ("success", "error", "timeout", "interrupted")


@dataclass(slots=True)
class Verdict:
    """What is wrong, by kind; a sentence each."""

    accepted: int
    done: int = 0
    lost: list[str] = field(default_factory=list)
    """An accepted run has no end, or another than its own; or what it did is not in its thread's state."""
    dup: list[str] = field(default_factory=list)
    """A state was applied twice, a run ended twice, or one exists that nobody was told of."""
    overlap: list[str] = field(default_factory=list)
    """Two nodes of one thread at the same time, or not in the order of the runs."""
    gaps: list[str] = field(default_factory=list)
    """The ids of a run's events have holes, or its last event is missing."""
    recoveries_s: list[float] = field(default_factory=list)
    """From a kill to the next line in the ledger, of each run that was hit."""

    @property
    def recovery_p99_s(self) -> float:
        took_s = sorted(self.recoveries_s)
        return took_s[min(len(took_s) - 1, int(len(took_s) * 0.99))] if took_s else 0.0

    @property
    def problems(self) -> list[str]:
        return [*self.lost, *self.dup, *self.overlap, *self.gaps]

    def __str__(self) -> str:
        return (
            f"accepted={self.accepted} done={self.done} lost={len(self.lost)} dup={len(self.dup)}"
            f" overlap={len(self.overlap)} gaps={len(self.gaps)} recovery_p99={self.recovery_p99_s:.1f}s"
        )


async def judge(site: Site, accepted: Sequence[Accepted]) -> Verdict:
    """Look at everything, once nothing happens any more."""
    rows = await site.sql(
        "SELECT run_id, thread_id, seq, status, error, kwargs -> 'stream_resumable' AS is_kept"
        " FROM perron.runs ORDER BY thread_id, seq"
    )
    runs = {row["run_id"]: row for row in rows}
    verdict = Verdict(len(accepted), recoveries_s=[took.total_seconds() for took in await site.recoveries()])
    ended = [each for each in accepted if _has_ended(each, runs.get(each.run_id), verdict)]
    verdict.done = len(ended)
    known = {each.run_id for each in accepted}
    verdict.dup += [f"run {run_id} was accepted by nobody" for run_id in runs if run_id not in known]
    await _look_at_states(site, ended, runs, verdict)
    _look_at_times(await site.ledger.entries(), runs, verdict)
    await _look_at_events(site, runs, verdict)
    return verdict


def _has_ended(each: Accepted, run: dict[str, Any] | None, verdict: Verdict) -> bool:
    if run is None:
        if not each.may_be_gone:
            verdict.lost.append(f"{each.name} is gone")
        return each.may_be_gone
    if run["status"] not in TERMINAL:
        verdict.lost.append(f"{each.name} is {run['status']}")
    elif run["status"] not in each.endings:
        verdict.lost.append(f"{each.name} ended as {run['status']}: {run['error']}")
    return run["status"] in each.endings


async def _look_at_states(site: Site, ended: Sequence[Accepted], runs: dict[UUID, Any], verdict: Verdict) -> None:
    by_thread = defaultdict(list)
    for each in ended:
        if each.run_id in runs:
            by_thread[each.thread_id].append(each)
    for thread_id, line in by_thread.items():
        line.sort(key=lambda each: runs[each.run_id]["seq"])
        whole = [each for each in line if runs[each.run_id]["status"] == "success"]
        expected = [f"{each.name} {node}" for each in whole for node in each.nodes]
        applied = (await site.platform.state(thread_id)).values.get("applied", [])
        counts = Counter(applied)
        verdict.dup += [f"{what} was applied {n} times" for what, n in counts.items() if n > 1]
        verdict.lost += [f"{what} is not in the state" for what in expected if what not in counts]
        places = {what: place for place, what in enumerate(applied)}
        found = [what for what in expected if what in places]
        verdict.overlap += [
            f"{one} was applied after {other}" for one, other in pairwise(found) if places[one] > places[other]
        ]


def _look_at_times(entries: Sequence[Entry], runs: dict[UUID, Any], verdict: Verdict) -> None:
    by_thread = defaultdict(list)
    for entry in entries:
        by_thread[entry.thread_id].append(entry)
    for line in by_thread.values():
        verdict.overlap += _overlaps(line, runs)


def _overlaps(line: Sequence[Entry], runs: dict[UUID, Any]) -> Iterator[str]:
    """Walk through a thread's entries in the order of their beginning."""
    busy: Entry | None = None
    seq = 0
    for entry in line:
        if busy is not None and entry.begun_at < busy.ended_at:
            yield f"{_told(entry)} began while {_told(busy)} was at work, at {_clock(entry.begun_at)}"
        own = runs[entry.run_id]["seq"] if entry.run_id in runs else seq  # a run that is gone has no number
        if own < seq:
            yield f"{_told(entry)} began after a later run of its thread, at {_clock(entry.begun_at)}"
        seq = max(seq, own)
        if busy is None or entry.ended_at > busy.ended_at:
            busy = entry


async def _look_at_events(site: Site, runs: dict[UUID, Any], verdict: Verdict) -> None:
    rows = await site.sql("""
        SELECT run_id, count(*) FILTER (WHERE event = 'end') AS ends, bool_or(n_first <> before + 1) AS has_gap
        FROM (
            SELECT run_id, event, n_first, coalesce(lag(n) OVER epochs, 0) AS before
            FROM perron.run_events WINDOW epochs AS (PARTITION BY run_id, epoch ORDER BY n)
        ) AS events
        GROUP BY run_id
    """)
    events = {row["run_id"]: row for row in rows}
    for run_id, run in runs.items():
        found = events.get(run_id, {"ends": 0, "has_gap": False})
        if found["has_gap"] and run["is_kept"]:  # of others most events live for a minute only
            verdict.gaps.append(f"the events of run {run_id} have a gap")
        if found["ends"] > 1:
            verdict.dup.append(f"run {run_id} ended {found['ends']} times")
        if run["status"] in TERMINAL and not found["ends"]:
            verdict.gaps.append(f"run {run_id} has no last event")


def _told(entry: Entry) -> str:
    return f"{entry.node} of run {entry.run_id} (worker {entry.worker})"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S.%f}"[:-3]
