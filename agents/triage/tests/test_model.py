from typing import Any

import pytest

from perron.testing.model_server import Answers, ModelServer, Says
from perron_agent_triage.config import Config
from perron_agent_triage.model import decide_by_model

MODEL = "openai:test"


@pytest.fixture(autouse=True)
def _api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for the test server")


def answer(**changes: Any) -> Answers:
    value = {"topic": "card lost", "actions": ["freeze_card"], "amount_cents": None, "answer": "Order a new one."}
    return Answers(value | changes)


async def test_the_model_decides_with_structured_output() -> None:
    with ModelServer([answer()]) as server:
        decision = await decide_by_model("gone!", model=MODEL, config=Config(base_url=server.base_url))

    assert decision == {
        "topic": "card lost",
        "plan": ["freeze_card"],
        "amount_cents": None,
        "answer": "Order a new one.",
        "decided_by": MODEL,
    }
    assert server.requests[0]["messages"][-1]["content"] == "gone!"


async def test_an_action_is_planned_once_however_often_the_model_names_it() -> None:
    with ModelServer([answer(actions=["refund", "refund", "open_ticket"])]) as server:
        decision = await decide_by_model("money!", model=MODEL, config=Config(base_url=server.base_url))

    assert decision["plan"] == ["refund", "open_ticket"]


async def test_a_negative_amount_is_none() -> None:
    with ModelServer([answer(actions=["refund"], amount_cents=-500)]) as server:
        decision = await decide_by_model("money!", model=MODEL, config=Config(base_url=server.base_url))

    assert decision["amount_cents"] is None


@pytest.mark.parametrize(
    "reply", [Says("I would rather not."), answer(actions=["launch_rocket"])], ids=["prose", "another action"]
)
async def test_an_answer_that_does_not_fit_becomes_a_ticket(reply: Says | Answers) -> None:
    with ModelServer([reply]) as server:
        decision = await decide_by_model("help", model=MODEL, config=Config(base_url=server.base_url))

    assert decision["plan"] == ["open_ticket"]
