"""One execution of a node: the order of its calls, those that are being made, and what it stops for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from operator import itemgetter
from threading import Lock
from typing import Any, NoReturn, TypeVar

from perron.integrations.run.open_ask import OpenAsk
from perron.integrations.run.slot import Slot
from perron.integrations.run.task_history import Place, TaskHistory

T = TypeVar("T")

Interrupt = Callable[[Sequence[OpenAsk]], BaseException]


class NodeAttempt:
    """The calls of one node attempt.

    Questions to people are gathered: once a call has come to one, no call begins, those that are being made are
    waited for, and all questions stop the node together. `interrupt()` would match answers by their position.
    """

    def __init__(self, number: int, interrupt: Interrupt, *, before: NodeAttempt | None = None) -> None:
        self.number = number
        self.is_over = False
        self.before = before
        """The attempt of the same task before this one; calls of it may still be under way."""
        self.asks: dict[int, OpenAsk] = {}
        """By the number of the call that asks."""
        self.history: TaskHistory | None = None
        """What the task did before; None until the first call has loaded it."""
        self.loading = asyncio.Lock()
        self._interrupt = interrupt
        self._numbers = count(1)
        self._ordinals: Counter[tuple[str, str]] = Counter()
        self._waiting: list[Place] = []
        self._counting = Lock()  # sync tools of one node take their places in threads
        self._abandoned: dict[tuple[str, str, bytes], Slot] = {}
        self._open: set[object] = set()
        self._settled = asyncio.Event()
        self._settled.set()
        self._stop: BaseException | None = None
        self._held: BaseException | None = None

    def next_number(self) -> int:
        """Return the number of the next call, in the order of the code. Safe in any thread."""
        return next(self._numbers)

    def place(self, tool_call_id: str, operation: str, fingerprint: bytes) -> Place:
        """Take the next place of an operation in this attempt. Safe in any thread."""
        with self._counting:
            self._ordinals[tool_call_id, operation] += 1
            place = Place(tool_call_id, operation, self._ordinals[tool_call_id, operation], fingerprint)
            self._waiting.append(place)
        return place

    def waiting(self) -> list[Place]:
        """Return the places that are taken and not matched with recorded calls yet, in the order of the code."""
        with self._counting:
            self._waiting = [place for place in self._waiting if not place.is_matched]
            return list(self._waiting)

    def abandon(self, place: Place, slot: Slot) -> None:
        """Note that the caller of a write was cancelled while it was under way, as by `asyncio.wait_for`."""
        self._abandoned[place.tool_call_id, place.operation, place.fingerprint] = slot

    def take_abandoned(self, place: Place) -> Slot | None:
        """Return the slot of the same write that was abandoned: its next call in this attempt is the same call."""
        return self._abandoned.pop((place.tool_call_id, place.operation, place.fingerprint), None)

    @property
    def is_stopping(self) -> bool:
        """Whether a call of this attempt has come to a question, or to something that is paused."""
        return bool(self.asks) or self._held is not None

    def hold(self, stop: BaseException) -> None:
        """Stop the node with this, unless it stops for a person: a call has come to something that is paused."""
        self._held = self._held or stop

    def enter(self, call: object) -> None:
        """Count a call as being made."""
        self._open.add(call)
        self._settled.clear()

    def leave(self, call: object) -> None:
        """Count a call as settled."""
        self._open.discard(call)
        if not self._open:
            self._settled.set()

    async def settled(self) -> None:
        """Wait until no call of this attempt, and of those before it, is being made."""
        if self.before is not None:
            await self.before.settled()
            self.before = None
        await self._settled.wait()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, also when the caller is cancelled meanwhile: what was sent must be recorded."""
        task = asyncio.get_running_loop().create_task(work)
        self.enter(task)
        task.add_done_callback(self.leave)
        return await asyncio.shield(task)

    async def stop(self, number: int, ask: OpenAsk | None) -> NoReturn:
        """Stop the node for a person when all that was begun is settled; the asking call has left already.

        Without `ask`, the call is held, or gives way to the questions of others.
        """
        if ask is not None:
            self.asks[number] = ask
        await self.settled()
        raise self.exception()

    def exception(self) -> BaseException:
        """Return the one exception that stops the attempt: with all its questions, in the order of the code."""
        if self._stop is None:
            asks = [ask for _, ask in sorted(self.asks.items(), key=itemgetter(0))]
            self._stop = self._interrupt(asks) if asks or self._held is None else self._held
        return self._stop


class NodeAttempts:
    """The newest attempt of each task in one execution of a run."""

    def __init__(self) -> None:
        self._newest: dict[str, NodeAttempt] = {}
        self._lock = Lock()

    def current(self, task_id: str, number: int, interrupt: Interrupt) -> NodeAttempt:
        """Return the attempt that the calling code belongs to. Safe in any thread.

        `number` alone does not tell attempts apart: in a subgraph it starts from 1 again when the node around the
        subgraph is retried.
        """
        with self._lock:
            newest = self._newest.get(task_id)
            if newest is None or newest.is_over or newest.number != number:
                newest = NodeAttempt(number, interrupt, before=newest)
                self._newest[task_id] = newest
            return newest

    def end(self, task_id: str) -> BaseException | None:
        """Return the exception that a node still owes when its code has ended: its `except Exception` ate it.

        To be called at each end of a node's code, also after an exception: what the task calls later belongs to
        another attempt.
        """
        with self._lock:
            newest = self._newest.get(task_id)
            if newest is None:
                return None
            newest.is_over = True
        return newest.exception() if newest.is_stopping else None

    async def settled(self) -> None:
        """Wait until no call of the run is being made, so that what was sent is recorded under this execution."""
        for attempt in list(self._newest.values()):
            await attempt.settled()
