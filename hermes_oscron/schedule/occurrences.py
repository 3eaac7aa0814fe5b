"""The occurrences of a schedule: exact instants, in any zone, across clock changes.

The rule for clock changes is Debian's (cron(8)): a fixed time runs once a day, right after the gap when the clock skips
it, the first time when the clock shows it twice; with a star in minute or hour a job runs by elapsed time. All returned
instants are aware and in UTC.
"""

import datetime
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from . import cron
from .model import CRON, INTERVAL, Schedule

UTC = datetime.UTC
SEARCH_YEARS = 50
"""The years for which a cron expression is searched; 29 February on a given weekday can be 40 years away."""
YEARS_AHEAD = 5
"""The number of years after the present one whose clock changes a timer or a crontab line covers."""


class Change(NamedTuple):
    """A clock change: the instant, and the zone's offset from UTC before and after it."""

    at: datetime.datetime
    before: datetime.timedelta
    after: datetime.timedelta


def occurrences(
    schedule: Schedule, after: datetime.datetime, zone: ZoneInfo, phase: datetime.datetime | None = None
) -> Iterator[datetime.datetime]:
    """Yield the instants, strictly later than `after` (aware), at which `schedule` is due in `zone`, in order.

    `phase` is any instant an interval is due at; without it the interval counts from `after`. Due is a whole second.
    """
    after = after.astimezone(UTC)
    if schedule.kind == CRON:
        yield from cron_occurrences(cron.parse(schedule.expression), after, zone)
    elif schedule.kind == INTERVAL:
        period = schedule.period
        phase = (phase or after).astimezone(UTC).replace(microsecond=0)
        due = phase + ((after - phase) // period + 1) * period
        while True:
            yield due
            due += period
    elif schedule.run_at > after:
        yield schedule.run_at


def next_occurrence(
    schedule: Schedule, after: datetime.datetime, zone: ZoneInfo, phase: datetime.datetime | None = None
) -> datetime.datetime | None:
    """Return the first occurrence later than `after`, or None."""
    return next(occurrences(schedule, after, zone, phase), None)


def latest_occurrence(
    schedule: Schedule,
    since: datetime.datetime,
    until: datetime.datetime,
    zone: ZoneInfo,
    phase: datetime.datetime | None = None,
) -> datetime.datetime | None:
    """Return the last occurrence later than `since` and not later than `until`, or None."""
    latest = None
    for due in occurrences(schedule, since, zone, phase):
        if due > until:
            break
        latest = due
    return latest


def first_occurrences(schedule: Schedule, count: int, after: datetime.datetime, zone: ZoneInfo,
                      phase: datetime.datetime | None = None) -> list[datetime.datetime]:
    """Return the first `count` occurrences later than `after`."""
    return list(islice(occurrences(schedule, after, zone, phase), count))


def cron_occurrences(
    expression: cron.Cron, after: datetime.datetime, zone: ZoneInfo
) -> Iterator[datetime.datetime]:
    """Yield the instants in UTC, later than `after`, at which `expression` is due in `zone`."""
    local = after.astimezone(zone)
    today = local.date()
    hours, minutes = sorted(expression.hours), sorted(expression.minutes)
    last = after
    # Instants of days on which the clock changes; a clock that is set back over midnight mixes those of two days.
    waiting: list[datetime.datetime] = []
    for day in _days(expression, _first_day(today, zone)):
        offset = steady_offset(day, zone)
        if offset is None:
            waiting += _changing_day(expression, day, zone)
            continue
        first_hour = local.hour if day == today else 0
        steady = _steady_day(day, offset, [hour for hour in hours if hour >= first_hour], minutes)
        for instant in chain(sorted(waiting), steady):
            if instant > last:
                last = instant
                yield instant
        waiting = []
    yield from sorted(instant for instant in waiting if instant > last)


def _first_day(today: datetime.date, zone: ZoneInfo) -> datetime.date:
    """Return `today`, or yesterday if some of that may still be to come."""
    yesterday = today - datetime.timedelta(days=1)
    return today if steady_offset(yesterday, zone) is not None else yesterday


def _days(expression: cron.Cron, first: datetime.date) -> Iterator[datetime.date]:
    """Yield the days, from `first` on, that `expression` names."""
    day, one = first, datetime.timedelta(days=1)
    while day.year <= first.year + SEARCH_YEARS:
        if day.month not in expression.months:
            day = (day.replace(day=1) + 32 * one).replace(day=1)
        else:
            if expression.days.match(day):
                yield day
            day += one


@lru_cache(maxsize=1024)
def steady_offset(day: datetime.date, zone: ZoneInfo) -> datetime.timedelta | None:
    """Return the offset of `zone` on `day`, or None if it changes on that day."""
    midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=zone)
    start = midnight.utcoffset()
    end = (midnight + datetime.timedelta(days=1)).replace(fold=1).utcoffset()
    return start if start == end == midnight.replace(fold=1).utcoffset() else None


def _steady_day(
    day: datetime.date, offset: datetime.timedelta, hours: list[int], minutes: list[int]
) -> Iterator[datetime.datetime]:
    midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=UTC) - offset
    for hour in hours:
        for minute in minutes:
            yield midnight + datetime.timedelta(hours=hour, minutes=minute)


def _changing_day(expression: cron.Cron, day: datetime.date, zone: ZoneInfo) -> list[datetime.datetime]:
    """Return the instants of a `day` on which the clock changes, in order."""
    due: list[datetime.datetime] = []
    for hour in sorted(expression.hours):
        for minute in sorted(expression.minutes):
            wall = datetime.datetime(day.year, day.month, day.day, hour, minute)
            if expression.by_elapsed_time:
                due.extend(instants_of(wall, zone))
            else:
                due.append(first_instant_of(wall, zone))
    return sorted(due)


def instants_of(wall: datetime.datetime, zone: ZoneInfo) -> list[datetime.datetime]:
    """Return the instants at which a clock in `zone` shows `wall` (naive): one, two, or in a gap none."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return [first]
    return [first, second] if first < second else []


def first_instant_of(wall: datetime.datetime, zone: ZoneInfo) -> datetime.datetime:
    """Return the instant at which a clock in `zone` first shows `wall` (naive), or the end of the gap that it is in."""
    shown = instants_of(wall, zone)
    if shown:
        return shown[0]
    around = datetime.timedelta(days=2)
    gap = wall.replace(tzinfo=zone).astimezone(UTC)
    return max(change.at for change in _changes(zone, gap - around, gap + datetime.timedelta(days=1))
               if change.at <= gap)


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> list[Change]:
    """Return the clock changes of `zone` from the start of `first_year` to the end of `last_year` (UTC years)."""
    return list(_changes_of_years(zone, first_year, last_year))


def coming_changes(zone: ZoneInfo, year: int) -> list[Change]:
    """Return the clock changes of `zone` in `year` and the next YEARS_AHEAD."""
    return changes(zone, year, year + YEARS_AHEAD)


@lru_cache(maxsize=64)
def _changes_of_years(zone: ZoneInfo, first_year: int, last_year: int) -> tuple[Change, ...]:
    start = datetime.datetime(first_year, 1, 1, tzinfo=UTC)
    return tuple(_changes(zone, start, datetime.datetime(last_year + 1, 1, 1, tzinfo=UTC)))


def _changes(zone: ZoneInfo, start: datetime.datetime, end: datetime.datetime) -> Iterator[Change]:
    step = datetime.timedelta(hours=12)
    while start < end:
        before, after = offset_at(start, zone), offset_at(start + step, zone)
        if before != after:
            yield Change(_bisect(start, start + step, zone), before, after)
        start += step


def _bisect(low: datetime.datetime, high: datetime.datetime, zone: ZoneInfo) -> datetime.datetime:
    """Return the first second, after `low` and not after `high`, that has the offset of `high`."""
    while high - low > datetime.timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        low, high = (middle, high) if offset_at(middle, zone) != offset_at(high, zone) else (low, middle)
    return high


def offset_at(instant: datetime.datetime, zone: ZoneInfo) -> datetime.timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
