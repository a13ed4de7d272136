"""Crons on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator

from perron.schemas.run import OnCompletion, RunOptions


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


EndTime = Annotated[datetime, AfterValidator(_aware)]
"""Without a zone it is meant in UTC."""


class CronCreate(RunOptions):
    """What it takes to create a cron: what its runs are given, and when. Names and defaults are the SDK's."""

    assistant_id: str
    """An agent's name or an assistant's UUID."""
    schedule: str
    """As in `0 9 * * MON-FRI`: minute, hour, day of month, month, day of week."""
    thread_id: UUID | None = None
    """All runs are made on this thread; without, each has one of its own."""
    timezone: str | None = None
    """A name as in `Europe/Zurich`; default: UTC."""
    end_time: EndTime | None = None
    on_run_completed: OnCompletion | None = None
    """Without a thread: `delete` (default) takes a run's own away when it has ended, `keep` leaves it."""
    enabled: bool = True


class CronUpdate(RunOptions):
    """What to change of a cron: only what is given. Run options replace those that it had, each as a whole."""

    schedule: str | None = None
    timezone: str | None = None
    end_time: EndTime | None = None
    """None takes the end away."""
    on_run_completed: OnCompletion | None = None
    enabled: bool | None = None

    @property
    def timing(self) -> dict[str, Any]:
        """What is given of the cron itself."""
        own = self.model_dump(exclude_unset=True, exclude={*RunOptions.model_fields})
        return {name: value for name, value in own.items() if value is not None or name == "end_time"}


def payload_of(body: RunOptions) -> dict[str, Any]:
    """Return what is given for the runs, without the metadata: a cron's are its own too."""
    return body.model_dump(mode="json", exclude_unset=True, include={*RunOptions.model_fields} - {"metadata"})
