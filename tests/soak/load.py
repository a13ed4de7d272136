"""The load: customers who put runs in line, cancel, answer, read and vanish, and write down what was accepted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar
from uuid import UUID, uuid4

from tests.soak.site import Site

from perron.errors import ConflictError, DatabaseUnavailableError, RunEndedError, RunNotFoundError
from perron.models.run import CancelAction
from perron.services.answer import Answer

NODES = ("first", "second", "third")
_AGAIN_S = 0.2

T = TypeVar("T")


@dataclass(slots=True)
class Accepted:
    """A run that Perron has accepted, and how it may end."""

    name: str
    run_id: UUID
    thread_id: UUID
    nodes: tuple[str, ...] = NODES
    """What of it stands in the state when it has succeeded."""
    endings: tuple[str, ...] = ("success",)
    may_be_gone: bool = False


class Load:
    """Customers on threads of a site."""

    def __init__(self, site: Site, dice: random.Random, *, threads: int) -> None:
        self.accepted: list[Accepted] = []
        self.ended = 0
        self.kinds: Counter[str] = Counter()
        self.complaints: list[str] = []
        """What a customer met that must not be: two answers taken, events out of order."""
        self._site = site
        self._dice = dice
        self._threads = [uuid4() for _ in range(threads)]
        self._numbers = count(1)
        self._customers: set[asyncio.Task[None]] = set()
        self._is_open = True

    def open(self, customers: int) -> None:
        """Let customers come, each with one run after the other."""
        for _ in range(customers):
            task = asyncio.create_task(self._shop())
            self._customers.add(task)

    async def close(self, *, patience_s: float = 180.0) -> None:
        """Let nobody in any more, and wait until all have what they came for."""
        self._is_open = False
        done, late = await asyncio.wait(self._customers, timeout=patience_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        for task in done:
            task.result()

    async def submit(self, thread_id: UUID | None = None, **work: Any) -> Accepted:
        """Put a run in line, however often that takes, and write down that it was accepted."""
        name = f"run{next(self._numbers)}"
        thread_id = thread_id or uuid4()
        given = {"name": name, "takes_s": self._site.scale.node_s, "does": "", **work}
        return await self._accepted(name, thread_id, lambda: self._submit(name, thread_id, given))

    async def tell(self, **work: Any) -> Accepted:
        """Go on with a command instead of an input: nothing in LangGraph keeps it from being applied twice."""
        before = await self.submit()  # on a new thread LangGraph itself applies a command's update twice
        await self.join(before)
        name = f"run{next(self._numbers)}"
        told = {"name": name, "takes_s": self._site.scale.node_s, "does": "", "applied": [f"{name} told"], **work}
        submit = partial(
            self._site.platform.submit,
            "work",
            command={"update": told, "goto": "first"},
            thread_id=before.thread_id,
            idempotency_key=name,
            stream_resumable=True,
        )
        accepted = await self._accepted(name, before.thread_id, submit)
        accepted.nodes = ("told", *NODES)
        return accepted

    async def join(self, accepted: Accepted) -> Any:
        """Wait for the end; None when the run is gone."""
        try:
            return await persist(lambda: self._site.platform.join(accepted.run_id))
        except RunNotFoundError:
            return None
        finally:
            self.ended += 1

    async def _submit(self, name: str, thread_id: UUID, given: Any) -> UUID:
        return await self._site.platform.submit(
            "work", given, thread_id=thread_id, if_not_exists="create", idempotency_key=name, stream_resumable=True
        )

    async def _accepted(self, name: str, thread_id: UUID, submit: Callable[[], Awaitable[UUID]]) -> Accepted:
        accepted = Accepted(name, await persist(submit), thread_id)
        self.accepted.append(accepted)
        return accepted

    async def _shop(self) -> None:
        while self._is_open:
            kinds = (self._buy, self._cancel, self._ask, self._tell, self._read, self._vanish)
            [kind] = self._dice.choices(kinds, weights=(12, 2, 1, 2, 2, 1))
            self.kinds[kind.__name__] += 1
            await kind(self._dice.choice(self._threads))

    async def _buy(self, thread_id: UUID) -> None:
        await self.join(await self.submit(thread_id))

    async def _cancel(self, thread_id: UUID) -> None:
        accepted = await self.submit(thread_id)
        action: CancelAction = self._dice.choice(("interrupt", "rollback"))
        accepted.endings = ("success", "interrupted")
        accepted.may_be_gone = action == "rollback"
        await asyncio.sleep(self._dice.uniform(0, 4 * self._site.scale.node_s))  # at any moment of its life
        with suppress(RunEndedError, RunNotFoundError):
            await persist(partial(self._site.platform.cancel, accepted.run_id, action=action))
        await self.join(accepted)

    async def _ask(self, _thread_id: UUID) -> None:
        """Stop for a person, and get two answers at once."""
        asked = await self.submit(does="ask")
        asked.nodes = ("first",)
        result = await self.join(asked)
        answers = {result.waiting[0].id: Answer("respond", "yes")}
        resume = partial(self._site.platform.resume, asked.thread_id, answers)
        taken = await asyncio.gather(persist(resume), persist(resume), return_exceptions=True)
        if any(isinstance(each, Exception) and not isinstance(each, ConflictError) for each in taken):
            self.complaints.append(f"{asked.name}: an answer met {taken}")
        rows = await persist(
            lambda: self._site.platform.runs.search(self._site.platform.caller, thread_id=asked.thread_id)
        )
        following = [run for run in rows if run.run_id != asked.run_id]
        if len(following) != 1:
            self.complaints.append(f"{asked.name}: of two answers at once {len(following)} were taken")
        for run in following:
            answered = Accepted(asked.name, run.run_id, asked.thread_id, ("second", "third"))
            self.accepted.append(answered)
            await self.join(answered)

    async def _tell(self, _thread_id: UUID) -> None:
        await self.join(await self.tell())

    async def _read(self, thread_id: UUID) -> None:
        """Read all events, or the first one and then never another, as long as the run lasts."""
        accepted = await self.submit(thread_id)
        if self._dice.random() < 0.5:
            unread = self._site.platform.follow(accepted.run_id)
            await persist(lambda: anext(unread, None))
            await self.join(accepted)
            return
        before, after, has_ended = (0, 0), "", False
        while not has_ended:
            try:
                async for event in self._site.platform.follow(accepted.run_id, after=after):
                    epoch, n = map(int, event.id.split("-"))
                    if (epoch, n) <= before:
                        self.complaints.append(f"{accepted.name}: event {event.id} after {before}")
                    before, after, has_ended = (epoch, n), event.id, event.event == "end"
            except DatabaseUnavailableError:
                continue
        await self.join(accepted)

    async def _vanish(self, thread_id: UUID) -> None:
        """Go away in the middle of a request, come back with the same key, and go away without waiting."""
        name = f"run{next(self._numbers)}"
        given = {"name": name, "takes_s": self._site.scale.node_s, "does": ""}
        request = asyncio.create_task(self._submit(name, thread_id, given))
        await asyncio.sleep(self._dice.uniform(0, 0.02))
        request.cancel()
        await asyncio.wait([request])
        accepted = await self._accepted(name, thread_id, lambda: self._submit(name, thread_id, given))
        waiting = asyncio.create_task(self.join(accepted))
        await asyncio.sleep(self._dice.uniform(0, self._site.scale.node_s))
        waiting.cancel()
        await asyncio.wait([waiting])


async def persist(work: Callable[[], Awaitable[T]]) -> T:
    """Do something as often as it takes, as a client does whose server is away."""
    while True:
        try:
            return await work()
        except DatabaseUnavailableError:
            await asyncio.sleep(_AGAIN_S)
