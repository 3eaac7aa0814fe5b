"""A schedule as OnCalendar= lines: systemd.time(7), tested against `systemd-analyze calendar`.

systemd evaluates a calendar on the wall clock, so a line with a zone skips a time that falls in a gap and does not fire
again in the repeated hour. The lines here are in UTC if that means the same. Otherwise the instants that would be lost
follow as further lines, for the clock changes of this year and the next YEARS_AHEAD.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable
from itertools import takewhile
from zoneinfo import ZoneInfo

from ...schedule import cron
from ...schedule.cron import ranges
from ...schedule.model import CRON, DAY, INTERVAL, WEEK, Schedule
from ...schedule.occurrences import UTC, Change, coming_changes, occurrences
from .zone_name import systemd_zone_name

INSTANTS_AHEAD = 32
"""The number of times of an interval that are armed at once if no calendar expresses it; the runner renews them."""

WEEKDAYS = "Mon Tue Wed Thu Fri Sat Sun".split()


def on_calendar(
    schedule: Schedule,
    zone: ZoneInfo,
    machine_zone: ZoneInfo,
    now: datetime.datetime,
    phase: datetime.datetime | None = None,
) -> list[str]:
    """Return the values of OnCalendar= that elapse exactly when `schedule` is due in `zone`.

    A line names its zone unless that is the machine's, whose change it should follow. `phase` is the next instant at
    which an interval is due. Raises SchedulerError if systemd does not know the zone.
    """
    if schedule.kind == CRON:
        return _cron_lines(schedule, zone, machine_zone, now)
    if schedule.kind == INTERVAL:
        return _interval_lines(schedule, phase or now + schedule.period)
    return [_instant(schedule.run_at)]


def _suffix(zone: ZoneInfo, machine_zone: ZoneInfo) -> str:
    same = zone.key == machine_zone.key or {zone.key, machine_zone.key} <= {"UTC", "Etc/UTC"}
    return "" if same else f" {systemd_zone_name(zone)}"


def _cron_lines(
    schedule: Schedule, zone: ZoneInfo, machine_zone: ZoneInfo, now: datetime.datetime
) -> list[str]:
    expression = cron.parse(schedule.expression)
    year = now.astimezone(UTC).year
    clock_changes = coming_changes(zone, year)
    if clock_changes and (minutes := _minutes_in_utc(expression, clock_changes)) is not None:
        return [f"*-*-* {_time(expression.hours, minutes)} UTC"]
    time = _time(expression.hours, expression.minutes)
    lines = [f"{day} {time}" + _suffix(zone, machine_zone) for day in _days(expression)]
    return lines + [line for change in clock_changes for line in _lost_at(change, schedule, zone)]


def _minutes_in_utc(expression: cron.Cron, clock_changes: list[Change]) -> frozenset[int] | None:
    """Return the minutes in UTC of an `expression` for every hour of every day; None if a clock change moves them."""
    every_hour = expression.hours == cron.HOUR.whole and expression.days.every
    if not (every_hour and expression.months == cron.MONTH.whole and expression.by_elapsed_time):
        return None
    offsets = {offset for change in clock_changes for offset in (change.before, change.after)}
    shifted = {
        frozenset((minute - round(offset.total_seconds()) // 60) % 60 for minute in expression.minutes)
        for offset in offsets
    }
    return shifted.pop() if len(shifted) == 1 else None


def _lost_at(change: Change, schedule: Schedule, zone: ZoneInfo) -> list[str]:
    """Return lines, in UTC, for the times of `schedule` that systemd loses, or may lose, at the clock `change`.

    Of a repeated hour these are all, if the job runs by elapsed time. If a time lies in a gap, systemd skips it, and in
    some zones (Africa/Casablanca) the rest of that day with it.
    """
    expression = cron.parse(schedule.expression)
    if change.after < change.before:
        until = change.at + (change.before - change.after) if expression.by_elapsed_time else change.at
    elif _names_a_time_in(change, expression):
        local_end = change.at.astimezone(zone).replace(hour=23, minute=59, second=59)
        until = local_end.astimezone(UTC)
    else:
        until = change.at
    just_before = change.at - datetime.timedelta(seconds=1)
    return _instants(takewhile(lambda due: due < until, occurrences(schedule, just_before, zone)))


def _names_a_time_in(gap: Change, expression: cron.Cron) -> bool:
    """Return True if `expression` names an hour, of any day, that the wall clock skips at least in part at `gap`."""
    skipped = gap.at + gap.before
    while skipped < gap.at + gap.after:
        if skipped.hour in expression.hours:
            return True
        skipped += datetime.timedelta(minutes=30)
    return False


def _instant(instant: datetime.datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _instants(instants: Iterable[datetime.datetime]) -> list[str]:
    """Return `instants`, on whole minutes, as one line for all hours of a day that have the same minutes."""
    minutes_of: dict[datetime.datetime, set[int]] = defaultdict(set)
    for instant in instants:
        minutes_of[instant.replace(minute=0)].add(instant.minute)
    hours_with: dict[tuple[datetime.date, frozenset[int]], set[int]] = defaultdict(set)
    for hour, minutes in minutes_of.items():
        hours_with[hour.date(), frozenset(minutes)].add(hour.hour)
    return [f"{day} {_time(hours, minutes)} UTC" for (day, minutes), hours in hours_with.items()]


def _interval_lines(schedule: Schedule, phase: datetime.datetime) -> list[str]:
    period, phase = schedule.period, phase.astimezone(UTC).replace(microsecond=0)
    if period == WEEK:
        return [f"{WEEKDAYS[phase.weekday()]} *-*-* {phase:%H:%M:%S} UTC"]
    if not schedule.is_perpetual:
        return [_instant(phase + k * period) for k in range(INSTANTS_AHEAD)]
    hours_at: dict[int, set[int]] = defaultdict(set)
    for k in range(DAY // period):
        due = phase + k * period
        hours_at[due.minute].add(due.hour)
    minutes_at: dict[frozenset[int], set[int]] = defaultdict(set)
    for minute, hours in hours_at.items():
        minutes_at[frozenset(hours)].add(minute)
    return sorted(f"*-*-* {_time(hours, minutes, phase.second)} UTC" for hours, minutes in minutes_at.items())


def _days(expression: cron.Cron) -> list[str]:
    """Return the weekday-and-date parts whose union is the days of `expression`."""
    month = _component(expression.months, cron.MONTH)
    days = expression.days
    if days.every:
        return [f"*-{month}-*"]
    parts = []
    if days.of_month:
        parts.append(f"*-{month}-{_component(days.of_month, cron.DAY)}")
    if days.last:
        parts.append(f"*-{month}~01")
    if days.nearest_weekday is not None:
        parts += _nearest_weekday(days.nearest_weekday, expression.months)
    if days.weekdays:
        parts.append(f"{_weekdays(days.weekdays)} *-{month}-*".removeprefix(" "))
    return parts + _nth_weekdays(days.nth, month)


def _nth_weekdays(nth: frozenset[tuple[int, int]], month: str) -> list[str]:
    """Return the parts for `nth`: `5#2` is the Friday among the days 8 to 14; the last is among the last seven."""
    weeks_of: dict[int, set[int]] = defaultdict(set)
    for weekday, which in nth:
        weeks_of[weekday].add(which)
    weekdays_of: dict[frozenset[int], set[int]] = defaultdict(set)
    for weekday, weeks in weeks_of.items():
        weekdays_of[frozenset(weeks)].add(weekday)
    parts = []
    for numbered, weekdays in sorted(weekdays_of.items(), key=lambda item: sorted(item[1])):
        counted = sorted(numbered - {cron.LAST})
        days = frozenset(day for n in counted for day in range(7 * n - 6, min(7 * n, 31) + 1))
        if days:
            parts.append(f"{_weekdays(frozenset(weekdays))} *-{month}-{_component(days, cron.DAY)}")
        if cron.LAST in numbered:
            parts.append(f"{_weekdays(frozenset(weekdays))} *-{month}~01..07")
    return parts


def _nearest_weekday(target: int, months: frozenset[int]) -> list[str]:
    """Return the parts for `15W`: the 15th if it is from Monday to Friday, else the Friday before or the Monday after.

    The day stays in the same month.
    """
    length = {month: 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 for month in months}
    at_end = {month for month in months if target >= length[month]}
    counted = months - at_end
    parts = []
    if counted:
        month = _component(counted, cron.MONTH)
        parts += [f"Mon..Fri *-{month}-{target:02}", f"Mon *-{month}-{target + 1:02}"]
        parts.append(f"Fri *-{month}-{target - 1:02}" if target > 1 else f"Mon *-{month}-03")
    if target == 28 and 2 in months:  # in a common year the 28th is the last, and a Sunday has no Monday after it
        parts.append("Fri *-02~03")
    if at_end:
        month = _component(at_end, cron.MONTH)
        parts += [f"Mon..Fri *-{month}~01", f"Fri *-{month}~02..03"]
    return parts


def _weekdays(numbers: Iterable[int]) -> str:
    """Return `Mon..Fri`, `Sat,Sun`; nothing for all seven, since systemd has no star here."""
    indices = {(number - 1) % 7 for number in numbers}
    if len(indices) == 7:
        return ""
    return ",".join(WEEKDAYS[a] if a == b else f"{WEEKDAYS[a]}..{WEEKDAYS[b]}"
                    for a, b in ranges(sorted(indices)))


def _time(hours: Iterable[int], minutes: Iterable[int], second: int = 0) -> str:
    return f"{_component(hours, cron.HOUR)}:{_component(minutes, cron.MINUTE)}:{second:02}"


def _component(numbers: Iterable[int], field: cron.Field) -> str:
    """Return `numbers` of `field` in systemd's syntax: `*`, `00/15`, `09..17`, `09..17/2`, `01,15`.

    Hours never have an open step: before a gap in the wall clock, systemd 252 then loops or loses fires.
    """
    values = sorted(numbers)
    low, high = values[0], values[-1]
    if len(values) == field.high - field.low + 1:
        return "*"
    step = values[1] - low if len(values) > 1 else 0
    if step > 1 and len(values) >= (3 if low == field.low else 4) and values == list(range(low, high + 1, step)):
        # An open step whose last value runs over the field's end loses the fire at midnight (systemd 252).
        even = field is cron.MINUTE and low == 0 and high + step == 60
        return f"{low:02}/{step}" if even else f"{low:02}..{high:02}/{step}"
    return ",".join(f"{a:02}" if a == b else f"{a:02}..{b:02}" for a, b in ranges(values))
