import pytest

from perron_agent_triage.amounts import find_amount


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("refund the £20", 2_000),
        ("it was $5.50.", 550),
        ("1,250.00€ for a hotel", 125_000),
        ("€ 489 please", 48_900),
        ("20 pounds", 2_000),
        ("12,50 eur", 1_250),
        ("$1,250, charged twice", 125_000),
        ("an extra pound", 100),
        ("first £3, then £4", 300),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, cents: int) -> None:
    assert find_amount(text) == cents


@pytest.mark.parametrize("text", ["", "version 2.0", "after 3 days", "$", "1.234.567 eur", "card 4711"])
def test_other_numbers_are_no_amounts(text: str) -> None:
    assert find_amount(text) is None
