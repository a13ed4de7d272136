"""When a cron is due: a schedule in a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Self
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from perron import clock
from perron.errors import InvalidInputError, nearest

_FIELDS = 5
_MONTH = 3
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LIKE = "as in '0 9 * * MON-FRI' (minute, hour, day of month, month, day of week)"


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A cron expression as Debian's cron reads it, also where clocks change, by the clocks of a zone."""

    expression: str
    zone: tzinfo

    @classmethod
    def parse(cls, expression: str, timezone: str | None) -> Self:
        """Read a schedule; without a time zone it is in UTC.

        Raises:
            InvalidInputError: It is no schedule, it never fires, or there is no such zone.
        """
        fields = _NAMED.get(expression.strip().lower(), expression).split()
        # Six fields would begin with seconds here and end with them elsewhere.
        if len(fields) != _FIELDS:
            raise InvalidInputError(f"The schedule {expression!r} has not five fields, {_LIKE}.")
        schedule = cls(" ".join(fields), _zone(timezone))
        try:
            never = schedule.next_after(clock.now()) is None
        except CronSimError as exc:
            never = _fits(fields)
            if not never:
                problem = str(exc)[:1].lower() + str(exc)[1:]
                raise InvalidInputError(
                    f"The schedule {expression!r} has a {problem}: write it {_LIKE}."
                ) from None
        if never:
            raise InvalidInputError(f"The schedule {expression!r} never fires: there is no such day.")
        return schedule

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first date after `moment`, in UTC; None if there is none in fifty years."""
        dates = CronSim(self.expression, moment.astimezone(self.zone))
        # In the hour that is repeated when clocks go back, the first one found may lie behind.
        return next((date.astimezone(UTC) for date in dates if date > moment), None)


def _fits(fields: list[str]) -> bool:
    """Say whether a schedule would do in another month."""
    try:
        CronSim(" ".join([*fields[:_MONTH], "*", *fields[_MONTH + 1 :]]), clock.now())
        CronSim(" ".join(["0", "0", "*", *fields[_MONTH:]]), clock.now())
    except CronSimError:
        return False
    return True


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a directory of zones
        hint = nearest(name, available_timezones()) or " Names are as in 'Europe/Zurich'."
        raise InvalidInputError(f"There is no time zone {name!r}.{hint}") from None
