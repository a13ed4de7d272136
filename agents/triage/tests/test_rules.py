import csv
import time
from pathlib import Path

import pytest

from perron_agent_triage.rules import RULES, decide_by_rules

REQUESTS = Path(__file__).parents[3] / "tests" / "data" / "requests.csv"


def requests() -> list[tuple[str, str]]:
    with REQUESTS.open(newline="") as file:
        return [(row["text"], row["expected_action"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("text", "expected_action"), requests())
def test_a_request_leads_to_the_action_that_a_person_expects(text: str, expected_action: str) -> None:
    decision = decide_by_rules(text)

    action = decision["plan"][0] if decision["plan"] else "reply"
    assert action == expected_action, decision["topic"]


def test_what_no_rule_knows_becomes_a_ticket() -> None:
    decision = decide_by_rules("Lorem ipsum dolor sit amet")

    assert decision["plan"] == ["open_ticket"]
    assert decision["topic"] == "unclear request"


@pytest.mark.parametrize("apostrophe", ["'", "\u2019", "`", ""])
def test_spelling_of_apostrophes_case_and_spaces_does_not_matter(apostrophe: str) -> None:
    decision = decide_by_rules(f"I  CAN{apostrophe}T\n find my   CARD")

    assert decision["plan"] == ["freeze_card"]


def test_a_card_that_was_found_again_is_not_frozen() -> None:
    assert "freeze_card" not in decide_by_rules("I found my card that I had reported as lost")["plan"]


def test_a_card_that_somebody_else_uses_is_frozen_and_looked_into() -> None:
    assert decide_by_rules("Somebody used my card without my consent")["plan"] == ["freeze_card", "open_ticket"]


def test_the_named_amount_is_in_the_decision() -> None:
    assert decide_by_rules("Please refund me £12.30")["amount_cents"] == 1230


def test_every_rule_has_a_topic_of_its_own() -> None:
    topics = [rule.topic for rule in RULES]

    assert len(set(topics)) == len(topics)


@pytest.mark.parametrize(
    "text",
    ["", "\x00", "\ud800 lost card", "a" * 1_000_000, "not " * 50_000, "1." * 50_000, "£1 " * 50_000],
    ids=["empty", "nul", "surrogate", "one word", "negations", "numbers", "amounts"],
)
def test_a_hostile_text_is_decided_in_well_under_a_second(text: str) -> None:
    started_at = time.process_time()

    decision = decide_by_rules(text)

    assert decision["topic"]
    assert time.process_time() - started_at < 1.0
