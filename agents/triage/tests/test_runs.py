import base64
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from perron import Platform
from perron.testing.model_server import Answers, ModelServer
from perron_desk_server.process import DeskProcess, start_desk

# The desk's customers: c-1 was charged twice, c-2 has two cards, c-3 has paid 489.00, c-4 nothing.
CHARGED_TWICE = {"text": "The bookshop charged me twice", "customer_id": "c-1"}
LOST = {"text": "I lost my card", "customer_id": "c-2"}
REFUND = {"text": "Please refund me the hotel", "customer_id": "c-3"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskProcess]:
    process = start_desk(tmp_path_factory.mktemp("desk") / "desk.sqlite")
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
async def platform(
    desk: DeskProcess, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Platform]:
    desk.reset()
    monkeypatch.setenv("PERRON_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    monkeypatch.setenv("PERRON_CONNECTION_DESK", desk.token)
    monkeypatch.setenv("PERRON_INTEGRATION_DESK__BASE_URL", desk.url)
    async with Platform.open(database_url=database_url, home=tmp_path) as opened:
        yield opened


async def test_a_lost_card_is_frozen_and_the_customer_told(platform: Platform, desk: DeskProcess) -> None:
    run = (await platform.run("triage", LOST)).raise_for_status()

    assert run.waiting == ()
    assert run.output["actions"] == ["freeze_card", "reply"]
    assert run.output["frozen_cards"] == ["card-2-1", "card-2-2"]
    assert "card-2-1 and card-2-2" in run.output["reply"]
    assert desk.counts() == {"freeze": 2, "message": 1, "refund": 0, "ticket": 0}


async def test_a_refund_up_to_the_limit_is_paid(platform: Platform, desk: DeskProcess) -> None:
    run = (await platform.run("triage", CHARGED_TWICE)).raise_for_status()

    assert run.output["actions"] == ["refund", "reply"]
    assert run.output["refunded_cents"] == 2499
    assert desk.counts()["refund"] == 1


async def test_above_the_limit_nothing_is_paid_until_a_person_approves(
    platform: Platform, desk: DeskProcess
) -> None:
    waiting = await platform.run("triage", REFUND)
    paid_before = desk.counts()["refund"]
    (ask,) = waiting.waiting
    run = (await ask.approve()).raise_for_status()

    assert paid_before == 0
    assert (ask.kind, ask.question) == ("approval", "Refund 489.00 EUR to Yuki Sato for Hotel Lind (489.00 paid)?")
    assert ask.args == {"payment": "pay-3-1", "amount_cents": 48_900}
    assert run.output["refunded_cents"] == 48_900
    assert desk.counts() == {"freeze": 0, "message": 1, "refund": 1, "ticket": 0}


async def test_a_person_may_set_another_amount(platform: Platform, desk: DeskProcess) -> None:
    (ask,) = (await platform.run("triage", REFUND)).waiting

    run = (await ask.edit({"payment": "pay-3-1", "amount_cents": 10_000})).raise_for_status()

    assert run.output["refunded_cents"] == 10_000
    assert "100.00 EUR" in run.output["reply"]


async def test_a_refused_refund_is_not_paid_and_the_customer_told(platform: Platform, desk: DeskProcess) -> None:
    (ask,) = (await platform.run("triage", REFUND)).waiting

    run = (await ask.reject("The room was used.")).raise_for_status()

    assert run.output["actions"] == ["reply"]
    assert "cannot be made" in run.output["reply"]
    assert desk.counts() == {"freeze": 0, "message": 1, "refund": 0, "ticket": 0}


async def test_the_limit_is_a_setting(platform: Platform, desk: DeskProcess) -> None:
    await platform.live_settings.set(platform.caller, "agent.triage.refund_limit_cents", 2_498)

    run = await platform.run("triage", CHARGED_TWICE)

    assert len(run.waiting) == 1
    assert desk.counts()["refund"] == 0


@pytest.mark.parametrize("customer_id", ["c-3", "c-4"], ids=["no duplicate", "no payment"])
async def test_what_the_payments_do_not_show_is_for_a_person(
    platform: Platform, desk: DeskProcess, customer_id: str
) -> None:
    run = (await platform.run("triage", CHARGED_TWICE | {"customer_id": customer_id})).raise_for_status()

    assert run.output["actions"] == ["open_ticket", "reply"]
    assert run.output["ticket_id"] in run.output["reply"]
    assert desk.counts() == {"freeze": 0, "message": 1, "refund": 0, "ticket": 1}


async def test_an_unknown_customer_becomes_a_ticket_without_a_message(
    platform: Platform, desk: DeskProcess
) -> None:
    run = (await platform.run("triage", LOST | {"customer_id": "../me"})).raise_for_status()

    assert run.output["actions"] == ["open_ticket"]
    assert desk.counts() == {"freeze": 0, "message": 0, "refund": 0, "ticket": 1}


async def test_a_question_is_answered_with_a_message_only(platform: Platform, desk: DeskProcess) -> None:
    run = (await platform.run("triage", {"text": "Where can I change my PIN?"})).raise_for_status()

    assert run.output["actions"] == ["reply"]
    assert "PIN" in run.output["reply"]
    assert desk.counts() == {"freeze": 0, "message": 1, "refund": 0, "ticket": 0}


async def test_the_next_request_of_a_thread_starts_afresh_for_the_same_customer(platform: Platform) -> None:
    first = (await platform.run("triage", {"text": LOST["text"]})).raise_for_status()
    second = await platform.run("triage", {"text": "Where can I change my PIN?"}, thread_id=first.thread_id)

    assert second.raise_for_status().output["actions"] == ["reply"]
    assert second.output["frozen_cards"] == []
    assert second.output["customer"] == first.output["customer"]


async def test_a_model_decides_where_the_context_names_one(
    platform: Platform, desk: DeskProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for the test server")
    decision = {
        "topic": "card gone",
        "actions": ["freeze_card", "open_ticket"],
        "amount_cents": None,
        "answer": "Order a new one.",
    }
    with ModelServer([Answers(decision)]) as server:
        await platform.live_settings.set(platform.caller, "agent.triage.base_url", server.base_url)
        run = await platform.run("triage", LOST, context={"model": "openai:test"})

    assert run.raise_for_status().output["decided_by"] == "openai:test"
    assert run.output["actions"] == ["freeze_card", "open_ticket", "reply"]
    assert desk.counts() == {"freeze": 2, "message": 1, "refund": 0, "ticket": 1}
