"""A schedule as OnCalendar= lines: systemd.time(7), tested against `systemd-analyze calendar`.

systemd evaluates a calendar on the wall clock, so a line with a zone skips a time that falls in a gap and does not fire
again in the repeated hour. It also costs a process at each elapse and each reload. The lines here are in UTC if that
means the same. Otherwise the instants that would be lost follow as further lines, for the clock changes of this year
and the next YEARS_AHEAD: the hourly sync renews them, but it may fail for as long as a jobs.json cannot be read, and a
timer must be right without it. The text depends on the year alone, so that no sync finds it changed.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, product, takewhile
from zoneinfo import ZoneInfo

from ...schedule import cron
from ...schedule.cron import ranges
from ...schedule.model import CRON, DAY, INTERVAL, MAX_YEAR, WEEK, Schedule
from ...schedule.occurrences import UTC, Change, coming_changes, occurrences, offset_at
from .zone_name import systemd_zone_name

INSTANTS_AHEAD = 32
"""The number of times of an interval that are armed at once if no calendar expresses it; the runner renews them."""

YEAR = cron.Field("year", 1970, MAX_YEAR, {})
WEEKDAYS = "Mon Tue Wed Thu Fri Sat Sun".split()

_Part = tuple[frozenset[int], ...]
"""The numbers of each component of a line, which elapses at all of their combinations."""


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


def _is_same(zone: ZoneInfo, machine_zone: ZoneInfo) -> bool:
    return zone.key == machine_zone.key or {zone.key, machine_zone.key} <= {"UTC", "Etc/UTC"}


def _cron_lines(
    schedule: Schedule, zone: ZoneInfo, machine_zone: ZoneInfo, now: datetime.datetime
) -> list[str]:
    expression = cron.parse(schedule.expression)
    clock_changes = coming_changes(zone, now.astimezone(UTC).year)
    if clock_changes or not _is_same(zone, machine_zone):
        offsets = {offset for change in clock_changes for offset in (change.before, change.after)}
        if lines := _lines_in_utc(expression, offsets or {offset_at(now, zone)}):
            return lines
    time = _time(expression.hours, expression.minutes)
    suffix = "" if _is_same(zone, machine_zone) else f" {systemd_zone_name(zone)}"
    lost = chain.from_iterable(_lost_at(change, schedule, zone) for change in clock_changes)
    return [f"{day} {time}{suffix}" for day in _days(expression.days, expression.months)] + _instants(lost)


def _lines_in_utc(expression: cron.Cron, offsets: set[datetime.timedelta]) -> list[str]:
    """Return the lines in UTC that mean `expression` in a zone with `offsets`; nothing if they are not the same."""
    if len(offsets) > 1 and not expression.by_elapsed_time:
        return []
    lines, *others = (_lines_at(offset, expression) for offset in offsets)
    return lines if all(lines == other for other in others) else []


def _lines_at(offset: datetime.timedelta, expression: cron.Cron) -> list[str]:
    """Return the lines in UTC that mean `expression` where the clock is ahead by `offset`; nothing if none do.

    The days can only follow times that are on the day before or after in UTC if they are weekdays, or all days.
    """
    hours_ahead, minutes_ahead = divmod(round(offset.total_seconds() / 60), 60)
    days, all_year = expression.days, expression.months == cron.MONTH.whole
    moved: dict[int, set[int]] = defaultdict(set)
    for minute in expression.minutes:
        carry, minute_in_utc = divmod(minute - minutes_ahead, 60)
        moved[carry].add(minute_in_utc)
    minutes_at: dict[tuple[int, int], set[int]] = defaultdict(set)
    for hour, (carry, at) in product(expression.hours, moved.items()):
        shift, hour_in_utc = divmod(hour - hours_ahead + carry, 24)
        minutes_at[0 if all_year and days.every else shift, hour_in_utc] |= at
    parts = _joined({_part({shift}, {hour}, at) for (shift, hour), at in minutes_at.items()}, 1)
    lines = []
    for [shift], hours, minutes in sorted(parts, key=_in_order):
        if shift and not (all_year and days == cron.Days(weekdays=days.weekdays)):
            return []
        on = days._replace(weekdays=frozenset((weekday + shift) % 7 for weekday in days.weekdays))
        lines += [f"{day} {_time(hours, minutes)} UTC" for day in _days(on, expression.months)]
    return lines


def _lost_at(change: Change, schedule: Schedule, zone: ZoneInfo) -> Iterator[datetime.datetime]:
    """Return the times of `schedule` that systemd loses, or may lose, at the clock `change`.

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
    return takewhile(lambda due: due < until, occurrences(schedule, just_before, zone))


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
    """Return lines that elapse at exactly `instants`, which are in UTC and on the same second of a minute."""
    minutes_of: dict[datetime.datetime, set[int]] = defaultdict(set)
    for instant in instants:
        minutes_of[instant.replace(minute=0)].add(instant.minute)
    parts = {_part((), {at.year}, {at.month}, {at.day}, {at.hour}, each) for at, each in minutes_of.items()}
    parts = _joined(_joined(_joined(_on_weekdays(_joined(parts, 4)), 3), 2), 1)
    second = next(iter(minutes_of)).second if minutes_of else 0
    return [f"{_weekdays(weekdays)} {_component(years, YEAR)}-{_component(months, cron.MONTH)}-"
            f"{_component(days, cron.DAY)} {_time(hours, minutes, second)} UTC".lstrip()
            for weekdays, years, months, days, hours, minutes in sorted(parts, key=_in_order)]


def _joined(parts: set[_Part], place: int) -> set[_Part]:
    """Return `parts`, where those that differ only in the component at `place` are one."""
    joined: dict[tuple[_Part, _Part], set[int]] = defaultdict(set)
    for part in parts:
        joined[part[:place], part[place + 1:]] |= part[place]
    return {(*before, frozenset(numbers), *after) for (before, after), numbers in joined.items()}


def _part(*components: Iterable[int]) -> _Part:
    return tuple(map(frozenset, components))


def _on_weekdays(parts: set[_Part]) -> set[_Part]:
    """Return `parts`, each of one date, where the same weekday of one week of a month is one for several years.

    The rules for clock changes are such: of the last Sundays in March, `Sun 2026..2031-03-25..31` names all.
    """
    alike: dict[tuple[int, _Part], set[_Part]] = defaultdict(set)
    for part in parts:
        date = datetime.date(*(number for component in part[1:4] for number in component))
        alike[date.isoweekday(), (part[2], *part[4:])].add(part)
    found: set[_Part] = set()
    for (weekday, (month, *time)), same in alike.items():
        years, days = (frozenset[int]().union(*(part[place] for part in same)) for place in (1, 3))
        if len(years) > 1 and max(days) - min(days) < 7:
            same = {_part({weekday}, years, month, range(min(days), max(days) + 1), *time)}
        found |= same
    return found


def _in_order(part: _Part) -> list[list[int]]:
    return [sorted(numbers) for numbers in part]


def _interval_lines(schedule: Schedule, phase: datetime.datetime) -> list[str]:
    period, phase = schedule.period, phase.astimezone(UTC).replace(microsecond=0)
    if period == WEEK:
        return [f"{WEEKDAYS[phase.weekday()]} *-*-* {phase:%H:%M:%S} UTC"]
    if not schedule.is_perpetual:
        return _instants(phase + k * period for k in range(INSTANTS_AHEAD))
    dues = (phase + k * period for k in range(DAY // period))
    parts = _joined(_joined({_part({due.hour}, {due.minute}) for due in dues}, 0), 1)
    return sorted(f"*-*-* {_time(hours, minutes, phase.second)} UTC" for hours, minutes in parts)


def _days(days: cron.Days, months: frozenset[int]) -> list[str]:
    """Return the weekday-and-date parts whose union is `days` of `months`."""
    month = _component(months, cron.MONTH)
    if days.every:
        return [f"*-{month}-*"]
    parts = []
    if days.of_month:
        parts.append(f"*-{month}-{_component(days.of_month, cron.DAY)}")
    if days.last:
        parts.append(f"*-{month}~01")
    if days.nearest_weekday is not None:
        parts += _nearest_weekday(days.nearest_weekday, months)
    if days.weekdays:
        parts.append(f"{_weekdays(days.weekdays)} *-{month}-*".removeprefix(" "))
    return parts + _nth_weekdays(days.nth, month)


def _nth_weekdays(nth: frozenset[tuple[int, int]], month: str) -> list[str]:
    """Return the parts for `nth`: `5#2` is the Friday among the days 8 to 14; the last is among the last seven."""
    pairs = {_part({weekday}, {week}) for weekday, week in nth if week != cron.LAST}
    last = {weekday for weekday, week in nth if week == cron.LAST}
    by_weekday, by_week = _joined(_joined(pairs, 1), 0), _joined(_joined(pairs, 0), 1)
    parts = []
    for weekdays, weeks in sorted(by_week if len(by_week) < len(by_weekday) else by_weekday, key=_in_order):
        days = {day for week in weeks for day in range(7 * week - 6, min(7 * week, 31) + 1)}
        parts.append(f"{_weekdays(weekdays)} *-{month}-{_component(days, cron.DAY)}".lstrip())
    return parts + ([f"{_weekdays(last)} *-{month}~01..07".lstrip()] if last else [])


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
