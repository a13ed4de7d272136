"""What a worker does with runs: its own, those of dead workers, and those that it is to stop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from tests.conftest import Deployment, until
from typing_extensions import TypedDict

from perron.plugins.agent import Agent


class State(TypedDict, total=False):
    """A text that nodes work on."""

    text: str


Node = Callable[[State], Awaitable[State]]


LEFT_BEHIND = (
    "UPDATE perron.runs SET status = 'running', epoch = 1, started_at = now(), worker_id = gen_random_uuid()"
)
"""Make all runs those of a dead worker."""


def chain(name: str, *nodes: Node) -> Agent:
    """Make an agent of nodes that run one after the other."""
    builder = StateGraph(State)
    previous = START
    for i, node in enumerate(nodes):
        builder.add_node(f"{node.__name__}_{i}", RunnableLambda(node))
        builder.add_edge(previous, f"{node.__name__}_{i}")
        previous = f"{node.__name__}_{i}"
    builder.add_edge(previous, END)
    return Agent(name, builder)


class Gate:
    """A node that waits at its first start until the test lets it go, and passes at every later one."""

    def __init__(self) -> None:
        self.starts = 0
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def node(self, state: State) -> State:
        self.starts += 1
        if self.starts == 1:
            self.reached.set()
            await self.open.wait()
        return {"text": f"{state['text']} passed"}


async def test_a_run_whose_worker_is_taken_for_dead_is_finished_by_another(deployment: Deployment) -> None:
    gate, before = Gate(), Counter[str]()

    async def first(state: State) -> State:
        before["first"] += 1
        return {"text": state["text"] + "!"}

    agent = chain("agent", first, gate.node)
    one = await deployment.open(agent)
    run_id = await one.submit("agent", {"text": "hi"})
    await gate.reached.wait()
    other = await deployment.open(agent)

    await deployment.declare_dead(one)
    run = await other.join(run_id)

    assert run.status == "success"
    assert run.output == {"text": "hi! passed"}
    assert (before["first"], gate.starts) == (1, 2)
    [row] = await deployment.sql("SELECT epoch, attempt FROM perron.runs")
    assert row == {"epoch": 2, "attempt": 1}


async def test_a_worker_that_was_buried_stops_its_runs_and_registers_anew(deployment: Deployment) -> None:
    gate = Gate()
    platform = await deployment.open(chain("agent", gate.node))
    run_id = await platform.submit("agent", {"text": "hi"})
    await gate.reached.wait()
    [before] = await deployment.sql("SELECT worker_id FROM perron.workers")

    await deployment.declare_dead(platform)
    run = await platform.join(run_id)

    assert run.output == {"text": "hi passed"}
    assert gate.starts == 2
    [after] = await deployment.sql("SELECT worker_id FROM perron.workers")
    assert after != before


async def test_a_process_that_registered_anew_and_then_stopped_holds_up_nobody(deployment: Deployment) -> None:
    gate = Gate()
    stopped = await deployment.open(chain("agent", gate.node))
    worker = stopped._worker
    assert worker is not None
    first_id = worker.worker_id
    await deployment.declare_dead(stopped)
    await until(lambda: worker.worker_id not in (None, first_id))
    run_id = await stopped.submit("agent", {"text": "hi"})
    await gate.reached.wait()

    assert worker._lease is not None
    pool = stopped._opened.shared.pool
    inside = await pool.getconn()  # of a checkpoint
    await inside.execute("BEGIN")
    await inside.execute("SELECT perron.fence(%s, 1)", [run_id])
    await asyncio.to_thread(worker._lease.stop)

    other = await deployment.open(chain("agent", gate.node))
    async with asyncio.timeout(20):
        run = await other.join(run_id)

    with pytest.raises(psycopg.OperationalError):
        await inside.execute("SELECT 1")
    await pool.putconn(inside)
    assert run.output == {"text": "hi passed"}


async def test_a_worker_that_is_buried_while_it_stops_stops(deployment: Deployment) -> None:
    """What its last beat says comes when nothing is left to do about it."""
    platform = await deployment.open(chain("agent", Gate().node))
    assert platform._worker is not None
    assert platform._worker._lease is not None
    is_stopping = platform._worker._lease._stopped.is_set
    async with deployment.connect() as other, other.transaction():
        await other.execute("DELETE FROM perron.workers WHERE worker_id = %s", [platform._worker.worker_id])
        await deployment.waits_for_a_lock()  # the beat
        closing = asyncio.create_task(platform.close())
        await until(is_stopping)
    await closing

    assert await deployment.sql("SELECT FROM perron.workers") == []


async def test_eight_workers_execute_each_of_fifty_runs_once(deployment: Deployment) -> None:
    executed = Counter[str]()

    async def count(state: State) -> State:
        executed[state["text"]] += 1
        return {}

    agent = chain("agent", count)
    line = await deployment.open(agent, worker=False)
    run_ids = [await line.submit("agent", {"text": str(i)}) for i in range(50)]
    few = {"concurrency": 3, "pool_size": 1, "max_overflow": 10, "checkpoint_pool_size": 2, "lease_s": 10}
    await asyncio.gather(*(deployment.open(agent, **few) for _ in range(8)))

    runs = [await line.join(run_id) for run_id in run_ids]

    assert {run.status for run in runs} == {"success"}
    assert executed == Counter({str(i): 1 for i in range(50)})
    assert await deployment.sql("SELECT 1 FROM perron.runs WHERE epoch <> 1") == []


async def test_the_runs_of_a_thread_keep_their_order(deployment: Deployment) -> None:
    order: list[str] = []

    async def note(state: State) -> State:
        order.append(state["text"])
        await asyncio.sleep(0)
        return {}

    agent = chain("agent", note)
    one = await deployment.open(agent)
    thread = await one.threads.create(one.caller)
    await deployment.open(agent)

    run_ids = [await one.submit("agent", {"text": str(i)}, thread_id=thread.thread_id) for i in range(6)]
    await asyncio.gather(*(one.join(run_id) for run_id in run_ids))

    assert order == [str(i) for i in range(6)]


async def test_runs_that_two_workers_died_with_are_taken_one_at_a_time(deployment: Deployment) -> None:
    at_once: list[int] = []

    async def hold(state: State) -> State:
        worker = platform._worker
        assert worker is not None
        await worker._rescue()  # a look for more, while this one executes
        at_once.append(len(worker._executions))
        return {}

    agent = chain("agent", hold)
    line = await deployment.open(agent, worker=False)
    run_ids = [await line.submit("agent", {"text": ""}) for _ in range(4)]
    await deployment.sql(f"{LEFT_BEHIND}, attempt = 2")
    platform = await deployment.open(agent)

    for run_id in run_ids:
        await line.join(run_id)

    assert at_once == [1, 1, 1, 1]


async def test_a_run_in_its_last_attempt_is_not_taken_beside_one_that_died_once(deployment: Deployment) -> None:
    """That one may be what kills: a step that it finishes before it does so lets its attempts begin anew."""
    at_once: list[int] = []

    async def hold(state: State) -> State:
        worker = platform._worker
        assert worker is not None
        await worker._rescue()
        at_once.append(len(worker._executions))
        return {}

    agent = chain("agent", hold)
    line = await deployment.open(agent, worker=False)
    run_ids = [await line.submit("agent", {"text": ""}) for _ in range(2)]
    await deployment.sql(f"{LEFT_BEHIND}, attempt = CASE run_id WHEN %s THEN 1 ELSE 2 END", run_ids[0])
    platform = await deployment.open(agent)

    for run_id in run_ids:
        await line.join(run_id)

    assert at_once == [1, 1]


async def test_a_run_that_has_finished_a_step_since_its_worker_died_holds_up_no_other(
    deployment: Deployment,
) -> None:
    both = asyncio.Barrier(2)

    async def step(state: State) -> State:
        return {}

    async def meet(state: State) -> State:
        await both.wait()
        return {}

    agent = chain("agent", step, meet)
    line = await deployment.open(agent, worker=False)
    run_ids = [await line.submit("agent", {"text": ""}) for _ in range(2)]
    await deployment.sql(f"{LEFT_BEHIND}, attempt = 2")
    await deployment.open(agent)

    assert {(await line.join(run_id)).status for run_id in run_ids} == {"success"}


async def test_runs_that_one_worker_died_with_are_taken_together(deployment: Deployment) -> None:
    all_of_them = asyncio.Barrier(4)

    async def meet(state: State) -> State:
        await all_of_them.wait()
        return {}

    agent = chain("agent", meet)
    line = await deployment.open(agent, worker=False)
    run_ids = [await line.submit("agent", {"text": ""}) for _ in range(4)]
    await deployment.sql(f"{LEFT_BEHIND}, attempt = 1")
    await deployment.open(agent)

    assert {(await line.join(run_id)).status for run_id in run_ids} == {"success"}


async def test_a_run_that_died_with_its_worker_does_not_wait_behind_a_full_line(deployment: Deployment) -> None:
    order: list[str] = []

    async def take_time(state: State) -> State:
        await asyncio.sleep(0.02)
        order.append(state["text"])
        return {}

    agent = chain("agent", take_time)
    line = await deployment.open(agent, worker=False)
    run_ids = [await line.submit("agent", {"text": f"{i}"}) for i in range(40)]
    await deployment.sql(
        "UPDATE perron.runs SET status = 'running', epoch = 1, started_at = now(), worker_id = gen_random_uuid()"
        " WHERE run_id = %s",
        run_ids[-1],
    )
    await deployment.open(agent, concurrency=1)

    for run_id in run_ids:
        await line.join(run_id)

    assert order.index("39") < 10


async def test_a_run_that_always_kills_its_worker_ends_as_an_error(deployment: Deployment) -> None:
    started = 0

    async def deadly(state: State) -> State:
        nonlocal started
        started += 1
        await asyncio.Event().wait()
        return {}

    agent = chain("agent", deadly)
    platforms = [await deployment.open(agent, worker=i > 0) for i in range(2)]
    run_id = await platforms[0].submit("agent", {"text": ""})
    for attempt in range(1, 4):
        await until(lambda attempt=attempt: started == attempt)  # type: ignore[misc]  # a lambda with a default
        await deployment.declare_dead(platforms[1])

    run = await platforms[0].join(run_id)

    assert run.status == "error"
    assert run.error is not None
    assert "3 attempts" in run.error["message"]
    assert started == 3
    assert (await platforms[0].threads.get(platforms[0].caller, run.thread_id)).status == "error"


async def test_closing_gives_runs_back_and_another_finishes_them_each_node_once(deployment: Deployment) -> None:
    gate, counts = Gate(), Counter[str]()

    async def before(state: State) -> State:
        counts["before"] += 1
        return {}

    async def after(state: State) -> State:
        counts["after"] += 1
        return {"text": state["text"] + " done"}

    agent = chain("agent", before, gate.node, after)
    one = await deployment.open(agent, lease_s=10)
    assert one._worker is not None
    run_id = await one.submit("agent", {"text": "hi"}, stream_mode=["updates"])
    await gate.reached.wait()
    [execution] = one._worker._executions.values()
    closing = asyncio.create_task(one.close())
    await until(lambda: execution.control.drain_requested)
    gate.open.set()
    await closing
    [given_back] = await deployment.sql("SELECT status, attempt, worker_id FROM perron.runs")
    other = await deployment.open(agent)

    run = await other.join(run_id)

    assert given_back == {"status": "pending", "attempt": 0, "worker_id": None}
    assert run.output == {"text": "hi passed done"}
    assert (counts["before"], gate.starts, counts["after"]) == (1, 1, 1)
    updates = [next(iter(event.data)) async for event in other.follow(run_id) if event.event == "updates"]
    assert updates == ["before_0", "node_1", "after_2"]


async def test_a_node_that_does_not_end_in_time_does_not_keep_a_worker_open(deployment: Deployment) -> None:
    gate = Gate()
    agent = chain("agent", gate.node)
    one = await deployment.open(agent, drain_s=0.1)
    run_id = await one.submit("agent", {"text": "hi"})
    await gate.reached.wait()

    await one.close()
    other = await deployment.open(agent)

    assert (await other.join(run_id)).output == {"text": "hi passed"}


async def test_a_run_of_this_worker_that_nothing_executes_is_given_back(deployment: Deployment) -> None:
    async def node(state: State) -> State:
        return {"text": "done"}

    platform = await deployment.open(chain("agent", node))
    assert platform._worker is not None
    line = await deployment.open(chain("agent", node), worker=False)
    run_id = await line.submit("agent", {"text": ""})
    # As after a claim whose answer was lost with its connection.
    await deployment.sql(
        "UPDATE perron.runs SET status = 'running', epoch = 7, attempt = 1, started_at = now(), worker_id = %s",
        platform._worker.worker_id,
    )

    run = await platform.join(run_id)

    assert run.output == {"text": "done"}
    [row] = await deployment.sql("SELECT attempt FROM perron.runs")
    assert row == {"attempt": 1}


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_a_running_run_is_cancelled(deployment: Deployment, is_elsewhere: bool) -> None:
    gate = Gate()
    platform = await deployment.open(chain("agent", gate.node))
    other = await deployment.open(chain("agent", gate.node), worker=False) if is_elsewhere else platform
    run_id = await platform.submit("agent", {"text": "hi"})
    await gate.reached.wait()

    cancelled = await other.cancel(run_id)
    run = await other.join(run_id)

    assert cancelled is not None
    assert cancelled.status == "running"
    assert run.status == "interrupted"
    thread = await platform.threads.get(platform.caller, run.thread_id)
    assert (thread.status, thread.values) == ("interrupted", {"text": "hi"})


async def test_a_cancel_that_comes_while_a_run_ends_is_too_late(deployment: Deployment) -> None:
    gate = Gate()
    platform = await deployment.open(chain("agent", gate.node))
    assert platform._worker is not None
    run_id = await platform.submit("agent", {"text": "hi"})
    await gate.reached.wait()

    async with deployment.connect() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM perron.threads FOR NO KEY UPDATE")  # the end waits for this
        gate.open.set()
        await deployment.waits_for_a_lock()
        await deployment.sql("UPDATE perron.runs SET cancel_action = 'interrupt'")
        await platform._worker._stop_cancelled()
    run = await platform.join(run_id)

    assert (run.status, run.output) == ("success", {"text": "hi passed"})


async def refuse_ends(deployment: Deployment, *, times: int, state: str) -> None:
    """Let the database refuse the next ends of runs with an SQLSTATE."""
    await deployment.sql("CREATE SEQUENCE perron.ends")  # what it has given out outlives a rollback
    await deployment.sql(f"""
        CREATE FUNCTION perron.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.status IN ('success', 'error', 'timeout') AND nextval('perron.ends') <= {times} THEN
                RAISE EXCEPTION 'not now' USING ERRCODE = '{state}';
            END IF;
            RETURN NEW;
        END $$
    """)
    await deployment.sql(
        "CREATE TRIGGER refuse BEFORE UPDATE ON perron.runs FOR EACH ROW EXECUTE FUNCTION perron.refuse()"
    )


@pytest.mark.parametrize("state", ["40P01", "55P03"], ids=["deadlock", "lock_timeout"])
async def test_an_end_that_the_database_refuses_for_a_moment_is_written_again(
    deployment: Deployment, state: str
) -> None:
    async def node(state: State) -> State:
        return {"text": "done"}

    await refuse_ends(deployment, times=1, state=state)
    platform = await deployment.open(chain("agent", node))

    run = await platform.run("agent", {"text": ""})

    assert (run.status, run.output) == ("success", {"text": "done"})
    assert await deployment.sql("SELECT last_value FROM perron.ends") == [{"last_value": 2}]


async def test_a_run_that_cannot_be_ended_here_is_given_back_as_an_attempt(deployment: Deployment) -> None:
    async def node(state: State) -> State:
        await asyncio.Event().wait()
        return {}

    await refuse_ends(deployment, times=2, state="P0001")  # the error that stands for the end as well
    platform = await deployment.open(chain("agent", node), run_timeout_s=0.01)

    run = await platform.run("agent", {"text": ""})

    assert run.status == "timeout"
    assert await deployment.sql("SELECT attempt FROM perron.runs") == [{"attempt": 2}]


async def test_a_node_that_raises_a_cancellation_of_its_own_fails_its_run(deployment: Deployment) -> None:
    async def node(state: State) -> State:
        raise asyncio.CancelledError

    platform = await deployment.open(chain("agent", node))

    run = await platform.run("agent", {"text": ""})

    assert run.status == "error"


async def test_a_blocked_loop_keeps_its_lease(deployment: Deployment) -> None:
    starts = 0

    async def block(state: State) -> State:
        nonlocal starts
        starts += 1
        time.sleep(1.5)  # noqa: ASYNC251  # what authors do
        return {"text": "done"}

    platform = await deployment.open(chain("agent", block))

    run = await platform.run("agent", {"text": ""})

    assert (run.status, starts) == ("success", 1)
    assert await deployment.sql("SELECT epoch FROM perron.runs") == [{"epoch": 1}]
