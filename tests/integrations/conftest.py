"""A thread in a real database whose node makes calls, is killed, and comes back."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter
from sqlalchemy import select, update

from perron.caller import Caller
from perron.database.engine import Database
from perron.errors import LeaseLostError
from perron.ids import RunId, ThreadId, WorkerId, new_id
from perron.integrations.connections.configured import ConfiguredConnections
from perron.integrations.connections.connections import Connections
from perron.integrations.exchange import ActiveCall, BeforeBytes, CallSpec, Exchange, NoAnswer, NotSent, Outgoing
from perron.integrations.host import Integrations
from perron.integrations.journal.journal import Journal
from perron.integrations.journal.ledger import Patience
from perron.integrations.repeat import AskPerson, Repeat
from perron.integrations.run.context import RunContext, TaskRef, running
from perron.integrations.run.open_ask import OpenAsk
from perron.integrations.sealing.key_ring import KeyRing
from perron.models.ask import Ask, AskAnswer
from perron.models.call import Call, CallAttempt
from perron.models.run import Run
from perron.models.thread import Thread

TIMEOUT_S = 30.0
LATER_S = 60.0
"""How much later than its predecessor a successor comes, so that it need not wait: more than 5 s + TIMEOUT_S."""


class Killed(BaseException):
    """The process is gone: nothing after this line happened."""


class Stopped(Exception):  # noqa: N818  # reads as what happened to the node
    """Stands for LangGraph's GraphInterrupt."""

    def __init__(self, asks: Sequence[OpenAsk]) -> None:
        self.asks = list(asks)


@dataclass
class FakeApi:
    """An API that counts what it does. `plan` says what happens to the next requests; then it answers 201."""

    plan: list[Any] = field(default_factory=list)
    """Statuses, Exchanges, exceptions ("after" the effect), or "before:…" ones that have none."""
    effects: list[Any] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    requests: int = 0

    def transport(self, body: Any, marker: str) -> Callable[[BeforeBytes], Awaitable[Exchange]]:
        async def send(before_bytes: BeforeBytes) -> Exchange:
            if self.plan and isinstance(self.plan[0], NotSent):
                raise self.plan.pop(0)
            before_bytes()
            step = self.plan.pop(0) if self.plan else 201
            self.requests += 1
            self.keys.append(marker)
            if callable(step):
                step = await step()
            if isinstance(step, Before):
                raise step.error
            if isinstance(step, int) and step >= 400:
                return answer(step, {"message": "no"})
            self.effects.append(body)
            if isinstance(step, BaseException):
                raise step
            return step if isinstance(step, Exchange) else answer(step, {"id": len(self.effects), "of": body})

        return send


@dataclass
class Before:
    """Goes wrong before the effect."""

    error: BaseException


def answer(status: int, body: Any, **headers: str) -> Exchange:
    """Make an answer with a JSON body."""
    return Exchange(status, headers, json.dumps(body).encode())


def make_spec(key: str = "desk.refund", repeat: Repeat | None = None, **changes: Any) -> CallSpec:
    """Make a write that a person is asked about in doubt, or what `changes` say."""
    spec = CallSpec(
        key=key,
        effect="create",
        repeat=repeat or AskPerson(),
        timeout_s=TIMEOUT_S,
        output=TypeAdapter(dict[str, Any]),
    )
    return replace(spec, **changes)


@dataclass
class Execution:
    """One execution of the run by one process, standing in one task."""

    context: RunContext
    api: FakeApi
    task: TaskRef
    has_lease: bool = True

    async def call(
        self,
        arguments: Mapping[str, Any],
        spec: CallSpec | None = None,
        *,
        once: str | None = None,
        task: TaskRef | None = None,
    ) -> Any:
        """Make a call as an operation of an integration does."""
        return await self.begin(arguments, spec, once=once, task=task)

    async def make(
        self, spec: CallSpec, arguments: dict[str, Any], body: Callable[[ActiveCall], Awaitable[Any]]
    ) -> Any:
        """Make a call with a body of the test's own."""
        with running(self.context):
            pending = self.context.journal.begin(spec, arguments)
            return await pending.run(body)

    def begin(
        self,
        arguments: Mapping[str, Any],
        spec: CallSpec | None = None,
        *,
        once: str | None = None,
        task: TaskRef | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Take the call's place now and return what makes it."""
        spec = spec or make_spec()
        if task is not None:
            self.task = task
        with running(self.context):
            pending = self.context.journal.begin(spec, dict(arguments), once=once)

        async def body(call: ActiveCall) -> Any:
            out = Outgoing("GET" if spec.effect == "read" else "POST", "desk", "/refunds", None, spec.timeout_s)
            transport = self.api.transport(dict(arguments), call.marker)
            answered = await (call.read if spec.effect == "read" else call.send)(out, transport)
            return answered.status, json.loads(answered.body)

        async def made() -> Any:
            with running(self.context):
                return await pending.run(body)

        return made()

    async def asks(
        self, arguments: Mapping[str, Any], spec: CallSpec | None = None, **options: Any
    ) -> list[OpenAsk]:
        """Make a call that stops for a person, and return the questions."""
        with pytest.raises(Stopped) as stopped:
            await self.call(arguments, spec, **options)
        return list(stopped.value.asks)

    async def careless(self, arguments: dict[str, Any]) -> Any:
        """Make a call as an operation whose author catches every exception."""

        async def body(call: ActiveCall) -> Any:
            out = Outgoing("POST", "desk", "/refunds", None, TIMEOUT_S)
            try:
                return await call.send(out, self.api.transport(arguments, call.marker))
            except Exception:  # noqa: BLE001  # what this is about
                return "never mind"

        return await self.make(make_spec(), arguments, body)

    def next_attempt(self) -> None:
        """Let LangGraph try the node again in the same process."""
        self.task = replace(self.task, attempt=self.task.attempt + 1)


class ThreadDriver:
    """A thread and the runs on it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.thread_id = ThreadId(new_id())
        self.run_id = RunId(new_id())
        self.api = FakeApi()
        self.journals: list[Journal] = []
        self.patience = Patience(tries=3, backoff_s=0.01, longest_wait_s=0.05, outage_s=1.0)
        self._keys = KeyRing(os.urandom(32))
        self._epoch = 0
        self._seq = 0

    async def new_run(self) -> None:
        """Start another run on the thread; its executions follow."""
        async with self.database.begin() as session:
            if self._seq == 0:
                session.add(Thread(thread_id=self.thread_id))
                await session.flush()
            await session.execute(update(Run).where(Run.thread_id == self.thread_id).values(status="success"))
            self._seq += 1
            self.run_id = RunId(new_id())
            session.add(
                Run(
                    run_id=self.run_id,
                    thread_id=self.thread_id,
                    graph_id="triage",
                    seq=self._seq,
                    status="running",
                )
            )
        self._epoch = 0

    async def execution(
        self,
        task_id: str = "task-1",
        *,
        is_branch: bool = False,
        patience: Patience | None = None,
        after_s: float = LATER_S,
        **task: Any,
    ) -> Execution:
        """Claim the run in another process, later: whoever had it before has lost it."""
        self._epoch += 1
        async with self.database.begin() as session:
            later = CallAttempt.sent_at - timedelta(seconds=after_s)
            await session.execute(update(CallAttempt).values(sent_at=later))
            await session.execute(update(Run).where(Run.run_id == self.run_id).values(epoch=self._epoch))
        journal = Journal(self.database, self._keys, patience=patience or self.patience)
        self.journals.append(journal)
        values: dict[str, Any] = {
            "node": "pay",
            "checkpoint_ns": "",
            "attempt": 1,
            "checkpoints": {"": "c1"},
            **task,
        }

        def check_lease() -> None:
            if not execution.has_lease:
                raise LeaseLostError("The lease is over.")

        context = RunContext(
            run_id=self.run_id,
            thread_id=self.thread_id,
            epoch=self._epoch,
            worker_id=WorkerId(new_id()),
            caller=Caller.system(),
            graph_id="triage",
            grants=None,
            settings={},
            journal=journal,
            integrations=None,  # type: ignore[arg-type]  # operations are called without a declaration here
            locate=lambda: execution.task,
            check_lease=check_lease,
            interrupt=Stopped,
            hold=lambda operation, connection_id: None,
            progress=lambda value: None,
            is_branch=is_branch,
        )
        execution = Execution(context, self.api, TaskRef(task_id=task_id, **values))
        return execution

    async def decide(self, ask: OpenAsk, decision: str, value: Any = None) -> UUID:
        """Answer a question as the ask service does, and return the ask's id."""
        ask_id = new_id()
        async with self.database.begin() as session:
            session.add(
                Ask(
                    ask_id=ask_id,
                    thread_id=self.thread_id,
                    run_id=self.run_id,
                    interrupt_id=ask.interrupt_id,
                    call_id=ask.call_id,
                    kind=ask.kind,
                    question=ask.question,
                    decisions=list(ask.decisions),
                    state="answered",
                )
            )
            await session.flush()
            session.add(
                AskAnswer(ask_id=ask_id, decision=decision, value=value, answered_by="ann", run_id=self.run_id)
            )
        return ask_id

    async def calls(self) -> list[Call]:
        """Return the thread's calls in their order."""
        query = select(Call).where(Call.thread_id == self.thread_id).order_by(Call.created_at, Call.call_id)
        async with self.database.begin() as session:
            return list((await session.execute(query)).scalars())

    async def attempts(self) -> list[CallAttempt]:
        """Return all attempts in their order."""
        async with self.database.begin() as session:
            query = select(CallAttempt).order_by(CallAttempt.sent_at, CallAttempt.attempt_id)
            return list((await session.execute(query)).scalars())

    async def checkpoint(self, checkpoint_ns: str = "") -> None:
        """Write the next checkpoint: what the saver's pipeline does to sealed answers."""
        async with self.database.begin() as session:
            await session.execute(
                update(Call)
                .where(Call.thread_id == self.thread_id, Call.checkpoint_ns == checkpoint_ns)
                .values(sealed=None)
            )


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with Perron's tables."""
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def thread(database: Database) -> AsyncIterator[ThreadDriver]:
    """A thread with a run in it."""
    driver = ThreadDriver(database)
    await driver.new_run()
    yield driver
    for journal in driver.journals:
        await journal.close()


@pytest.fixture
def no_answer() -> NoAnswer:
    """What a transport raises when the connection broke after the request had left."""
    return NoAnswer("the connection was reset")


@dataclass
class Wire:
    """An HTTP server that keeps what it was sent, and answers with the bytes that it was given."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    answers: list[bytes | Callable[[], Awaitable[bytes]]] = field(default_factory=list)
    """In order; then `200 {}`. Empty bytes close the connection without an answer."""

    def reply(self, body: Any, status: int = 200, **headers: str) -> None:
        """Answer the next request with JSON."""
        self.reply_raw(json.dumps(body).encode(), status, **headers)

    def reply_raw(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer the next request with these bytes as the body."""
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.answers.append("\r\n".join([*lines, "", ""]).encode() + body)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, target, _ = first.split(" ")
                self.requests.append(Received(method, target, headers, body))
                step = self.answers.pop(0) if self.answers else b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}"
                answer = step if isinstance(step, bytes) else await step()
                if not answer:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A local HTTP server."""
    wire = Wire()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield wire
    server.close()


SHOP_TOKEN = "canary-7f3a"


@pytest.fixture
async def shop_run(thread: ThreadDriver, database: Database, wire: Wire) -> AsyncIterator[RunContext]:
    """A run of an agent that may use everything of the integration `shop`, whose API is the wire."""
    context = (await thread.execution()).context
    configured = ConfiguredConnections({"PERRON_CONNECTION_SHOP": SHOP_TOKEN}, {})
    connections = Connections(database, KeyRing(os.urandom(32)), configured)
    context.integrations = Integrations(connections, versions={"shop": "1.2.3"})
    context.settings = {"shop": {"base_url": wire.url}}
    with running(context):
        yield context
    await context.integrations.close()
