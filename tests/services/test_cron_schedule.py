"""When crons are due: expressions, zones, and clocks that change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perron.errors import InvalidInputError
from perron.services.cron_schedule import CronSchedule


def dates(expression: str, zone: str | None, after: datetime, *, count: int = 2) -> list[str]:
    schedule = CronSchedule.parse(expression, zone)
    found: list[datetime] = []
    for _ in range(count):
        after = schedule.next_after(after) or after
        found.append(after)
    return [f"{date:%m-%d %H:%M}" for date in found]


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("0 9 * * MON-FRI", None, ["10-30 09:00", "11-02 09:00"]),
        ("@daily", None, ["10-31 00:00", "11-01 00:00"]),
        ("*/15 * * * *", None, ["10-30 08:15", "10-30 08:30"]),
        ("0 9 * * *", "America/New_York", ["10-30 13:00", "10-31 13:00"]),
        ("30 2 29 2 *", None, ["02-29 02:30", "02-29 02:30"]),
    ],
)
def test_a_schedule_is_read_by_the_clocks_of_its_zone(
    expression: str, zone: str | None, expected: list[str]
) -> None:
    assert dates(expression, zone, datetime(2026, 10, 30, 8, 0, tzinfo=UTC)) == expected


def test_a_time_that_the_clocks_leave_out_comes_right_after_it() -> None:
    # In New York 2:30 is left out on 8 March 2026: at 7:00 UTC it becomes 3:00.
    assert dates("30 2 * * *", "America/New_York", datetime(2026, 3, 8, 5, 0, tzinfo=UTC)) == [
        "03-08 07:00",
        "03-09 06:30",
    ]


def test_a_time_that_the_clocks_repeat_comes_once() -> None:
    # In New York 1:30 is at 5:30 and again at 6:30 UTC on 1 November 2026.
    expected = ["11-01 05:30", "11-02 06:30"]

    assert dates("30 1 * * *", "America/New_York", datetime(2026, 11, 1, 4, 0, tzinfo=UTC)) == expected


def test_a_date_is_never_behind_the_moment_that_it_is_to_follow() -> None:
    between_the_two = datetime(2026, 11, 1, 6, 10, tzinfo=UTC)

    assert dates("30 1 * * *", "America/New_York", between_the_two, count=1) == ["11-02 06:30"]


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 2,4,6 *"])
def test_a_schedule_that_never_fires_is_refused(expression: str) -> None:
    with pytest.raises(InvalidInputError, match="never fires: there is no such day"):
        CronSchedule.parse(expression, None)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "has not five fields"),
        ("0 9 * *", "has not five fields"),
        ("0 0 9 * * *", "has not five fields"),
        ("60 9 * * *", "has a bad minute"),
        ("0 24 * * *", "has a bad hour"),
        ("0 9 32 * *", "has a bad day-of-month"),
        ("0 9 * * FUNDAY", "has a bad day-of-week"),
        ("0 9 * 13 *", "has a bad month"),
        ("a b c d e", "has a bad minute"),
    ],
)
def test_what_is_no_schedule_is_refused_with_an_example(expression: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{said}.* as in '0 9 "):
        CronSchedule.parse(expression, None)


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/Zuerich", "Did you mean 'Europe/Zurich'"),
        ("Europe", "as in 'Europe/Zurich'|Did you mean"),
        ("../x", "no time zone"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest(zone: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        CronSchedule.parse("@daily", zone)
