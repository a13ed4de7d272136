from typing import Any

import pytest

from perron_agent_triage.graph import after_ask, after_choice, build, next_step
from perron_agent_triage.state import State
from perron_agent_triage.steps import customer_of


def state(**changes: Any) -> State:
    profile = {"name": "Ada", "email": "ada@mail.example", "active_cards": [], "payments": []}
    values: dict[str, Any] = {"plan": [], "profile": profile, "refund_plan": None, "is_refund_refused": False}
    return values | changes  # type: ignore[return-value]  # the fields that the routes look at


def test_the_graph_compiles_and_can_be_drawn() -> None:
    drawing = build().compile().get_graph().draw_mermaid()

    assert "look_up_customer" in drawing
    assert "ask_for_refund" in drawing


def test_input_and_output_have_schemas() -> None:
    graph = build().compile()

    assert graph.get_input_jsonschema()["required"] == ["text"]
    assert {"actions", "reply", "refund_id", "customer"} <= set(graph.get_output_jsonschema()["properties"])


@pytest.mark.parametrize(
    ("plan", "step"),
    [
        (["freeze_card", "open_ticket"], "freeze_card"),
        (["open_ticket"], "open_ticket"),
        (["refund"], "choose_payment"),
        (["refund_duplicate"], "choose_payment"),
        ([], "send_message"),
    ],
)
def test_the_plan_says_what_comes_next(plan: list[str], step: str) -> None:
    assert next_step(state(plan=plan)) == step


def test_somebody_whom_the_desk_does_not_know_gets_no_message() -> None:
    assert next_step(state(profile=None)) == "__end__"


def test_a_refund_is_paid_asked_for_or_handed_over() -> None:
    steps = [
        after_choice(state(refund_plan=refund_plan))
        for refund_plan in (None, {"needs_approval": True}, {"needs_approval": False})
    ]

    assert steps == ["open_ticket", "ask_for_refund", "refund"]


def test_a_refused_refund_is_not_paid() -> None:
    assert after_ask(state(is_refund_refused=True)) == "send_message"
    assert after_ask(state()) == "refund"


def test_the_same_text_is_the_same_customer_and_another_text_another() -> None:
    assert customer_of("hello") == customer_of("hello") != customer_of("hello!")
    assert customer_of("\ud800").startswith("c-")
