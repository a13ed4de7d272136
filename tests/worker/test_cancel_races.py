"""Cancels that come at any moment of a run's life, while another process executes it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import get_args
from uuid import UUID, uuid4

from tests.worker.hall import Hall, until

from perron.configuration import PlatformSettings
from perron.errors import RunEndedError, RunGoneError, RunNotFoundError
from perron.models.run import CancelAction

THREADS = 6
MOMENTS = 5
"""At which a run of each thread is cancelled for each action, from its creation to after its end."""
NODES = ("first", "second")


@dataclass
class Lane:
    """A thread, and what became of its runs in their order."""

    hall: Hall
    number: int
    thread_id: UUID = field(default_factory=uuid4)
    names: list[str] = field(default_factory=list)
    endings: dict[str, str] = field(default_factory=dict)
    """A run's name → its status, `gone` where it was rolled back."""

    async def submit(self) -> tuple[str, UUID]:
        name = f"{self.number}.{len(self.names)}"
        self.names.append(name)
        return name, await self.hall.submit(name, thread_id=self.thread_id, if_not_exists="create")

    async def race(self, action: CancelAction, after_s: float) -> None:
        """Cancel a run so long after it was created, and wait for its end."""
        name, run_id = await self.submit()
        await asyncio.sleep(after_s)  # the moment that the cancel is to hit
        try:
            await self.hall.platform.cancel(run_id, action=action)
        except RunEndedError:
            assert await self.end(run_id) == "success"
        self.endings[name] = await self.end(run_id)

    async def end(self, run_id: UUID) -> str:
        async with asyncio.timeout(20):
            try:
                return (await self.hall.platform.join(run_id)).status
            except (RunGoneError, RunNotFoundError):
                return "gone"

    async def check(self) -> None:
        """Check that the thread goes on, and that its state has what its runs have done, and nothing twice."""
        name, run_id = await self.submit()
        self.endings[name] = await self.end(run_id)
        assert self.endings[name] == "success"
        thread = await self.hall.platform.threads.get(self.hall.platform.caller, self.thread_id)
        assert thread.status == "idle"

        applied = (await self.hall.platform.state(self.thread_id)).values["applied"]
        for name in self.names:
            done = [entry.removeprefix(f"{name} ") for entry in applied if entry.startswith(f"{name} ")]
            allowed: dict[str, list[list[str]]] = {
                "success": [list(NODES)],
                "interrupted": [[], ["first"], list(NODES)],  # what it has done stays
                "gone": [[]],
            }
            assert done in allowed[self.endings[name]], (name, self.endings[name])
        assert applied == sorted(applied, key=lambda entry: self.names.index(entry.split()[0]))


async def test_a_run_that_is_cancelled_at_any_moment_ends_in_one_way_and_its_thread_goes_on(hall: Hall) -> None:
    lanes = [Lane(hall, number) for number in range(THREADS)]
    await asyncio.gather(*(lane.race("interrupt", 0) for lane in lanes))  # before there is a worker
    assert {lane.endings[name] for lane in lanes for name in lane.names} == {"interrupted"}
    await hall.start_ready(poll_s="0.02")  # it hears of a cancel in the midst of a run
    _, run_id = await lanes[0].submit()
    began_s = time.monotonic()
    lanes[0].endings[lanes[0].names[-1]] = await lanes[0].end(run_id)
    life_s = time.monotonic() - began_s

    async def race_all(lane: Lane) -> None:
        for moment in range(MOMENTS):
            for action in get_args(CancelAction):
                # Each at its own: those of the lanes lie between each other's.
                share = (moment + lane.number / THREADS) / (MOMENTS - 1)
                await lane.race(action, share * life_s)

    await asyncio.gather(*(race_all(lane) for lane in lanes))

    await asyncio.gather(*(lane.check() for lane in lanes))
    assert {"success", "interrupted", "gone"} == {ending for lane in lanes for ending in lane.endings.values()}
    written = hall.written()
    assert set(written.values()) == {1}
    for lane in lanes:
        for name in lane.names:
            if lane.endings[name] == "success":
                assert [written[f"{name} {node}"] for node in NODES] == [1, 1]


async def test_a_run_of_another_process_is_stopped_by_a_cancel_with_the_default_settings(hall: Hall) -> None:
    defaults = PlatformSettings.model_fields
    await hall.start_ready(poll_s=str(defaults["poll_s"].default), lease_s=str(defaults["lease_s"].default))
    run_id = await hall.submit("run", is_gated=True)  # nobody opens the gate
    await until(partial(hall.is_written, "run first"))

    await hall.platform.cancel(run_id)
    async with asyncio.timeout(10):
        run = await hall.platform.join(run_id)

    assert run.status == "interrupted"
    assert (await hall.platform.state(run.thread_id)).next == ("first",)
