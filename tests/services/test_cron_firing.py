"""Firing crons: each date once, whoever looks; and crons that nothing can come of are in nobody's way."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from langgraph.types import interrupt
from tests.conftest import Deployment, State, chain

from perron import clock
from perron.caller import Caller
from perron.core.platform import Platform
from perron.models.cron import Cron
from perron.models.run import Run
from perron.plugins.agent import Agent
from perron.schemas.cron import CronCreate
from perron.services.cron_firing import CronFiring

ANN = Caller("ann")


def greet(state: State) -> State:
    return {"text": f"hello {state['text']}"}


def ask(state: State) -> State:
    return {"text": str(interrupt("who?"))}


async def pass_a_minute(deployment: Deployment) -> None:
    await deployment.sql("UPDATE perron.threads SET state_updated_at = state_updated_at - interval '1 minute'")


async def take_away(deployment: Deployment, platform: Platform) -> None:
    while await deployment.sql("SELECT 1 FROM perron.threads"):
        await pass_a_minute(deployment)
        await platform.threads.delete_temporary()


def firing(platform: Platform) -> CronFiring:
    return CronFiring(platform._opened.shared.database, platform.registry, platform.runs)


class Clockwork:
    """A platform without a worker, whose crons become due when a test says so."""

    def __init__(self, deployment: Deployment, platform: Platform) -> None:
        self.deployment = deployment
        self.platform = platform

    async def make(self, **fields: Any) -> Cron:
        body = {"assistant_id": "agent", "schedule": "0 9 * * *", "input": {"text": "ann"}, **fields}
        return await self.platform.crons.create(ANN, CronCreate(**body))

    async def make_due(self, cron: Cron, *, since: str = "1 second") -> None:
        await self.deployment.sql(
            "UPDATE perron.crons SET next_run_date = now() - %s::interval WHERE cron_id = %s", since, cron.cron_id
        )

    async def get(self, cron: Cron) -> Cron:
        return await self.platform.crons.get(ANN, cron.cron_id)

    async def runs(self, cron: Cron) -> list[Run]:
        found = await self.platform.runs.search(ANN, limit=100)
        return [run for run in found if run.metadata_.get("cron_id") == str(cron.cron_id)]


@pytest.fixture
async def clockwork(deployment: Deployment) -> Clockwork:
    return Clockwork(deployment, await deployment.open(chain(greet), worker=False))


async def test_a_due_cron_creates_the_run_that_it_describes(clockwork: Clockwork) -> None:
    cron = await clockwork.make(
        metadata={"team": "desk"}, config={"configurable": {"tone": "warm"}}, context={"limit": 3}
    )
    await clockwork.make_due(cron)

    await firing(clockwork.platform).fire_due()

    [run] = await clockwork.runs(cron)
    assert (run.status, run.owner, run.graph_id) == ("pending", "ann", "agent")
    assert run.metadata_ == {"team": "desk", "cron_id": str(cron.cron_id)}
    assert run.kwargs["input"] == {"text": "ann"}
    assert run.kwargs["config"]["configurable"] == {"tone": "warm", "cron_id": str(cron.cron_id)}
    assert run.kwargs["context"] == {"limit": 3}


async def test_however_many_look_each_date_is_one_run(clockwork: Clockwork) -> None:
    crons = [await clockwork.make() for _ in range(5)]
    for cron in crons:
        await clockwork.make_due(cron)
    others = [await clockwork.deployment.open(chain(greet), worker=False) for _ in range(3)]

    await asyncio.gather(*(firing(each).fire_due() for each in [clockwork.platform, *others] * 2))

    assert [len(await clockwork.runs(cron)) for cron in crons] == [1] * 5


async def test_a_cron_that_another_process_fires_now_is_left_to_it(clockwork: Clockwork) -> None:
    cron = await clockwork.make()
    await clockwork.make_due(cron)
    async with clockwork.deployment.connect() as other, other.transaction():
        await other.execute("SELECT 1 FROM perron.crons FOR UPDATE")

        async with asyncio.timeout(10):
            await firing(clockwork.platform).fire_due()

    assert await clockwork.runs(cron) == []


async def test_all_missed_dates_are_one_run_and_the_next_is_counted_from_now(clockwork: Clockwork) -> None:
    cron = await clockwork.make(schedule="*/5 * * * *")
    await clockwork.make_due(cron, since="3 days")

    for _ in range(3):
        await firing(clockwork.platform).fire_due()

    assert len(await clockwork.runs(cron)) == 1
    following = (await clockwork.get(cron)).next_run_date
    assert following is not None
    assert 0 < (following - clock.now()).total_seconds() <= 300


async def test_the_run_and_the_next_date_are_one_transaction(clockwork: Clockwork) -> None:
    cron = await clockwork.make()
    await clockwork.make_due(cron)
    await clockwork.deployment.sql(
        "ALTER TABLE perron.crons ADD CONSTRAINT stuck CHECK (next_run_date < now() + '1 minute')"
    )

    await firing(clockwork.platform).fire_due()

    assert await clockwork.runs(cron) == []
    assert "It broke (IntegrityError)" in str((await clockwork.get(cron)).error)


async def test_after_its_end_a_cron_creates_nothing(clockwork: Clockwork) -> None:
    cron = await clockwork.make(end_time=clock.now().replace(year=clock.now().year + 1))
    await clockwork.make_due(cron, since="2 days")
    await clockwork.deployment.sql("UPDATE perron.crons SET end_time = now() - interval '1 day'")

    await firing(clockwork.platform).fire_due()

    assert await clockwork.runs(cron) == []
    ended = await clockwork.get(cron)
    assert (ended.next_run_date, ended.enabled, ended.error) == (None, True, None)


async def test_the_last_date_before_the_end_is_the_last(clockwork: Clockwork) -> None:
    cron = await clockwork.make(schedule="0 0 1 1 *", end_time=clock.now().replace(year=clock.now().year + 2))
    await clockwork.make_due(cron)
    await clockwork.deployment.sql("UPDATE perron.crons SET end_time = now() + interval '1 minute'")

    await firing(clockwork.platform).fire_due()

    assert len(await clockwork.runs(cron)) == 1
    assert (await clockwork.get(cron)).next_run_date is None


async def test_the_runs_of_a_threads_cron_stand_in_its_line(clockwork: Clockwork) -> None:
    thread = await clockwork.platform.threads.create(ANN)
    cron = await clockwork.make(thread_id=thread.thread_id)
    for _ in range(2):
        await clockwork.make_due(cron)
        await firing(clockwork.platform).fire_due()

    runs = await clockwork.runs(cron)

    assert [(run.thread_id, run.seq) for run in runs] == [(thread.thread_id, 2), (thread.thread_id, 1)]


async def test_a_cron_whose_assistant_is_gone_is_disabled_and_the_others_are_run(clockwork: Clockwork) -> None:
    lost, kept = await clockwork.make(), await clockwork.make()
    assistant = UUID(int=7)
    await clockwork.deployment.sql(
        "INSERT INTO perron.assistants (assistant_id, graph_id, name, owner) VALUES (%s, 'agent', 'mine', 'ann')",
        assistant,
    )
    lost = await clockwork.make(assistant_id=str(assistant))
    await clockwork.deployment.sql("DELETE FROM perron.assistants WHERE assistant_id = %s", assistant)
    for cron in (lost, kept):
        await clockwork.make_due(cron)

    await firing(clockwork.platform).fire_due()

    disabled = await clockwork.get(lost)
    assert (disabled.enabled, disabled.next_run_date) == (False, None)
    assert "Its assistant is gone" in str(disabled.error)
    assert (len(await clockwork.runs(lost)), len(await clockwork.runs(kept))) == (0, 1)


async def test_a_cron_whose_agent_nobody_has_is_disabled_after_a_while(clockwork: Clockwork) -> None:
    cron = await clockwork.make()
    other = await clockwork.deployment.open(chain(greet, name="other"), worker=False)
    await clockwork.make_due(cron, since="1 hour")

    await firing(other).fire_due()

    assert (await clockwork.get(cron)).enabled  # its process may only be starting anew
    await clockwork.deployment.sql("UPDATE perron.agents SET updated_at = now() - interval '2 minutes'")
    await firing(other).fire_due()
    disabled = await clockwork.get(cron)
    assert not disabled.enabled
    assert "No process has its agent 'agent' any more" in str(disabled.error)


async def test_a_cron_whose_agent_another_worker_has_waits_for_that(deployment: Deployment) -> None:
    clockwork = Clockwork(deployment, await deployment.open(chain(greet)))
    other = await deployment.open(chain(greet, name="other"), worker=False)
    cron = await clockwork.make()
    await deployment.sql("UPDATE perron.agents SET updated_at = now() - interval '2 minutes'")
    async with deployment.connect() as connection, connection.transaction():
        await connection.execute(
            "UPDATE perron.crons SET next_run_date = now() - interval '1 hour' WHERE cron_id = %s", [cron.cron_id]
        )
        await connection.execute("SELECT 1 FROM perron.crons FOR UPDATE")
        await firing(other).fire_due()

    await firing(other).fire_due()

    shown = await clockwork.get(cron)
    assert (shown.enabled, shown.error) == (True, None)


async def test_an_input_that_no_longer_fits_disables_the_cron(clockwork: Clockwork) -> None:
    cron = await clockwork.make()
    await clockwork.make_due(cron)
    await clockwork.deployment.sql("""UPDATE perron.crons SET payload = '{"input": {"txt": "ann"}}'""")

    await firing(clockwork.platform).fire_due()

    disabled = await clockwork.get(cron)
    assert not disabled.enabled
    assert "has none of its fields" in str(disabled.error)


async def test_options_that_this_release_does_not_take_disable_the_cron(clockwork: Clockwork) -> None:
    cron = await clockwork.make()
    await clockwork.make_due(cron)
    await clockwork.deployment.sql("""UPDATE perron.crons SET payload = '{"stream_mode": ["tubes"]}'""")

    await firing(clockwork.platform).fire_due()

    assert "stream_mode" in str((await clockwork.get(cron)).error)


async def test_an_open_platform_fires_crons_and_takes_their_threads_away(deployment: Deployment) -> None:
    done = asyncio.Event()

    def tell(state: State) -> State:
        done.set()
        return state

    clockwork = Clockwork(deployment, await deployment.open(chain(tell), worker=False))
    deleted = await clockwork.make()
    await clockwork.make_due(deleted)

    platform = await deployment.open(chain(tell))
    async with asyncio.timeout(20):
        await done.wait()
        await take_away(deployment, platform)

    assert await deployment.sql("SELECT 1 FROM langgraph.checkpoints") == []
    assert await deployment.sql("SELECT 1 FROM perron.run_events") == []


@pytest.mark.parametrize(("on_run_completed", "left"), [("delete", 0), ("keep", 1)])
async def test_what_becomes_of_a_runs_own_thread(deployment: Deployment, on_run_completed: str, left: int) -> None:
    clockwork = Clockwork(deployment, await deployment.open(chain(greet), worker=False))
    cron = await clockwork.make(on_run_completed=on_run_completed)
    await clockwork.make_due(cron)
    await firing(clockwork.platform).fire_due()
    await pass_a_minute(deployment)
    await clockwork.platform.threads.delete_temporary()
    [run] = await clockwork.runs(cron)  # not begun: its thread is needed

    await clockwork.platform.cancel(run.run_id)
    await clockwork.platform.threads.delete_temporary()

    assert len(await deployment.sql("SELECT 1 FROM perron.threads")) == left


async def test_a_temporary_thread_that_waits_for_a_person_stays(deployment: Deployment) -> None:
    platform = await deployment.open(chain(ask))
    run = await platform.run("agent", {"text": ""}, on_completion="delete")

    await pass_a_minute(deployment)
    await platform.threads.delete_temporary()
    assert (await platform.threads.get(platform.caller, run.thread_id)).status == "interrupted"

    [waiting] = run.waiting
    await waiting.respond("ann")
    await platform.threads.delete_temporary()
    assert await platform.threads.get(platform.caller, run.thread_id)  # whoever waits for the end can read it
    async with asyncio.timeout(20):
        await take_away(deployment, platform)


async def test_a_graph_that_cannot_be_built_now_fails_its_run_and_not_the_cron(deployment: Deployment) -> None:
    is_broken = False

    def build() -> Any:
        if is_broken:
            raise RuntimeError("no connection")
        return chain(greet).build

    maker = await deployment.open(Agent("agent", build), worker=False)
    clockwork = Clockwork(deployment, maker)
    cron = await clockwork.make()
    await clockwork.make_due(cron)
    is_broken = True
    other = await deployment.open(Agent("agent", build), worker=False)

    await firing(other).fire_due()

    assert len(await clockwork.runs(cron)) == 1
    assert (await clockwork.get(cron)).enabled
