"""The Schedule type: a kind and a canonical expression that parses back to the same schedule."""

import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..errors import OscronError


class ScheduleError(OscronError):
    """The schedule cannot be used. The text is for its author."""

    status = 400


CRON = "cron"
INTERVAL = "interval"
ONCE = "once"

MAX_YEAR = 2199
"""The last year that systemd supports (systemd.time(7), calendar events)."""
DAY, WEEK = datetime.timedelta(days=1), datetime.timedelta(weeks=1)
UNIT_MINUTES = {"m": 1, "h": 60, "d": 1440}


class Schedule(NamedTuple):
    """The rule for when a job is due.

    `expression` is five cron fields, `every 2h` (unit m, h or d), or an ISO 8601 time with its offset.
    """

    kind: str
    expression: str

    @property
    def period(self) -> datetime.timedelta:
        """The length of an interval."""
        count = self.expression.removeprefix("every ")
        return datetime.timedelta(minutes=int(count[:-1]) * UNIT_MINUTES[count[-1]])

    @property
    def is_perpetual(self) -> bool:
        """False for an interval whose times no day and no week repeats: a timer has only its next ones."""
        return self.kind != INTERVAL or self.period == WEEK or not DAY % self.period

    @property
    def run_at(self) -> datetime.datetime:
        """The instant of a one-shot, in UTC."""
        return datetime.datetime.fromisoformat(self.expression).astimezone(datetime.UTC)


def cron_schedule(expression: str) -> Schedule:
    """Return the schedule of a canonical five-field `expression`."""
    return Schedule(CRON, expression)


def interval(minutes: int) -> Schedule:
    """Return the schedule of every `minutes` minutes, in the largest unit that divides them."""
    unit = next(unit for unit in ("d", "h", "m") if minutes % UNIT_MINUTES[unit] == 0)
    return Schedule(INTERVAL, f"every {minutes // UNIT_MINUTES[unit]}{unit}")


def once(run_at: datetime.datetime) -> Schedule:
    """Return the schedule of one time, `run_at` (aware); a part of a second counts as the next whole one."""
    if run_at.microsecond:
        run_at = run_at.replace(microsecond=0) + datetime.timedelta(seconds=1)
    return Schedule(ONCE, run_at.isoformat())


def once_in_zone(run_at: datetime.datetime, zone: ZoneInfo) -> Schedule:
    """Return a one-shot at `run_at`, its expression in the offset of `zone`. Raises ScheduleError beyond MAX_YEAR."""
    try:
        local = run_at.astimezone(zone)
    except OverflowError:
        local = run_at
    if not 1 < local.year <= MAX_YEAR:
        raise ScheduleError(f"{run_at.isoformat()} is not in the years up to {MAX_YEAR}.")
    return once(local)
