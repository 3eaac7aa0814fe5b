"""The fields of a crontab line that starts a job: five fields of crontab(5) that fire whenever a schedule is due.

If cron can express a schedule, the line is exactly the schedule. If not, it is the tightest line that covers every
fire, on the minute or at the next one, and the runner drops the rest (`is_due` in jobs/due.py). Three rules of
Debian's cron(8) matter here:

- A field that begins with a star makes day-of-month and day-of-week both hold; without one, either suffices.
- A minute or hour field that begins with a star makes a job run by elapsed time when clocks change. A job without one
  runs once for each time of the clock, right after a gap and not again in a repeated hour.
- A step may be longer than its field: `*/60` is minute 0, with a star.

BusyBox's crond must not miss a fire either. There either day field suffices, `*/2` counts days from 0, and Sunday is
not 7.
"""

import datetime
import math
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ...jobs.due import ceil_to
from ...schedule import cron
from ...schedule.cron import DAY, HOUR, MINUTE, MONTH, WEEKDAY, Days, Field, ranges
from ...schedule.model import CRON, INTERVAL, Schedule
from ...schedule.occurrences import UTC, YEARS_AHEAD, coming_changes, occurrences
from .. import protocol

DAY_MINUTES, WEEK_MINUTES = 1440, 10080
BETWEEN_CHANGES = datetime.timedelta(days=2)
"""If two zones change their clocks within this time, their shift between is one of some hours of the year."""
VIXIE_ITEM = re.compile(r"\*(/\d+)?|(\d+)(-(\d+)(/\d+)?)?")
"""A list item that means the same to cron and to croniter, if its range rises."""
NOT_FOR_BUSYBOX = {DAY.name: re.compile(r"\*/"), WEEKDAY.name: re.compile("7")}
"""The text that means something else to BusyBox's crond, by the name of the field."""
CYCLE = [datetime.date(2001, 1, 1) + datetime.timedelta(days) for days in range(28 * 365 + 7)]
"""28 years, in which every date falls on every weekday."""


class CronExpression(NamedTuple):
    """The five fields; `exact` is True if they fire when the schedule is due and at no other time."""

    fields: str
    exact: bool


def expression_of(schedule: Schedule, zone: ZoneInfo, machine_zone: ZoneInfo, now: datetime.datetime,
                  phase: datetime.datetime | None = None) -> CronExpression:
    """Return the line that covers `schedule` of `zone` for a cron in `machine_zone`.

    It holds for the clock changes of YEARS_AHEAD years. `phase` is an instant at which an interval is due.
    """
    year = now.astimezone(UTC).year
    if schedule.kind == CRON:
        if {each.shift for each in _shifts(zone, machine_zone, year)} == {0}:
            return _same_clock(schedule.expression, cron.parse(schedule.expression))
        return _other_clock(schedule, zone, machine_zone, year)
    if schedule.kind == INTERVAL:
        return _interval(schedule, phase or now + schedule.period, machine_zone, year)
    return _once(ceil_to(schedule.run_at, protocol.MINUTE).astimezone(machine_zone))


def starts_per_day(line: CronExpression) -> int:
    """Return how often cron starts `line` on a day on which it does."""
    minute, hour = line.fields.split()[:2]
    return len(_numbers(MINUTE, minute)) * len(_numbers(HOUR, hour))


def _same_clock(text: str, expression: cron.Cron) -> CronExpression:
    """Return the line of an `expression`, of canonical `text`, whose clock is cron's own."""
    minute, hour, day, month, weekday = text.split()
    time = " ".join([_keep_if_vixie_compatible(minute, MINUTE, expression.minutes),
                     _keep_if_vixie_compatible(hour, HOUR, expression.hours)])
    months = _keep_if_vixie_compatible(month, MONTH, expression.months)
    days = expression.days
    if days.every:
        return CronExpression(f"{time} * {months} *", True)
    if days == Days(of_month=days.of_month, weekdays=days.weekdays):
        if not days.weekdays:
            kept = _compact(DAY, days.of_month) if "*" in day else _keep_if_vixie_compatible(day, DAY, days.of_month)
            return CronExpression(f"{time} {kept} {months} *", True)
        if not days.of_month:
            return CronExpression(f"{time} * {months} {_keep_if_vixie_compatible(weekday, WEEKDAY, days.weekdays)}",
                                  True)
        either = [_keep_if_vixie_compatible(text, field, numbers) if not text.startswith("*")
                  else _compact(field, numbers)
                  for text, field, numbers in ((day, DAY, days.of_month), (weekday, WEEKDAY, days.weekdays))]
        return CronExpression(f"{time} {either[0]} {months} {either[1]}", True)
    covered = _cover_days(days, expression.months, frozenset([0]))
    return CronExpression(f"{time} {covered.fields}", covered.exact)


def _other_clock(schedule: Schedule, zone: ZoneInfo, machine_zone: ZoneInfo, year: int) -> CronExpression:
    """Return the line of a `schedule` of `zone` for a cron whose clock is in `machine_zone`."""
    expression = cron.parse(schedule.expression)
    shifts = _shifts(zone, machine_zone, year)
    by_shift = [{hour * 60 + minute + shift for hour in expression.hours for minute in expression.minutes}
                for shift in {each.shift for each in shifts if each.end - each.start > BETWEEN_CHANGES}]
    now_and_then = _after_gaps(expression, zone, machine_zone, year)
    for each in shifts:
        if each.end - each.start <= BETWEEN_CHANGES:
            now_and_then |= _walls_in(each, schedule, zone)
    offsets = frozenset(wall // DAY_MINUTES for walls in (*by_shift, now_and_then) for wall in walls)
    time = _time([*by_shift, now_and_then], starred=bool(coming_changes(machine_zone, year)))
    covered = _cover_days(expression.days, expression.months, offsets)
    steady = expression.by_elapsed_time or not coming_changes(zone, year)
    exact_days = covered.exact and (expression.days.every or len(offsets) == 1)
    exact = steady and exact_days and _is_exact(time, by_shift) and all(
        _starts_in(each, time, expression, offsets, machine_zone) == {
            wall % DAY_MINUTES for wall in _walls_in(each, schedule, zone)}
        for each in shifts if each.end - each.start <= BETWEEN_CHANGES)
    return CronExpression(f"{time} {covered.fields}", exact)


def _walls_in(shift: "_Shift", schedule: Schedule, zone: ZoneInfo) -> set[int]:
    """Return cron's minutes of the day, counted from the day in `zone`, at which `schedule` is due during `shift`."""
    just_before = shift.start - datetime.timedelta(seconds=1)
    due = takewhile(lambda due: due < shift.end, occurrences(schedule, just_before, zone))
    walls = (each.astimezone(zone) for each in due)
    return {wall.hour * 60 + wall.minute + shift.shift for wall in walls}


def _starts_in(shift: "_Shift", time: str, expression: cron.Cron, offsets: frozenset[int],
               machine_zone: ZoneInfo) -> set[int]:
    """Return cron's minutes of the day in `shift` at which it starts a line of `time` and the days of `expression`."""
    def is_started(wall: datetime.datetime) -> bool:
        days = [wall.date() - datetime.timedelta(offset) for offset in offsets]
        return wall.hour * 60 + wall.minute in named and any(
            day.month in expression.months and expression.days.match(day) for day in days)

    named, first = _named(time), shift.start.astimezone(machine_zone).replace(tzinfo=None)
    length = int((shift.end - shift.start).total_seconds()) // 60
    walls = (first + datetime.timedelta(minutes=nth) for nth in range(length))
    return {wall.hour * 60 + wall.minute for wall in walls if is_started(wall)}


def _after_gaps(expression: cron.Cron, zone: ZoneInfo, machine_zone: ZoneInfo, year: int) -> set[int]:
    """Return cron's minute of the day for each end of a gap in `zone`, where a skipped fixed time may be made up."""
    if expression.by_elapsed_time:
        return set()
    walls = set()
    for change in coming_changes(zone, year):
        skipped, end = change.at + change.before, change.at + change.after
        times = {hour * 60 + minute for hour in expression.hours for minute in expression.minutes}
        start, length = skipped.hour * 60 + skipped.minute, int((end - skipped).total_seconds()) // 60
        if any(minute % DAY_MINUTES in times for minute in range(start, start + length)):
            there = change.at.astimezone(machine_zone)
            days = (there.date() - skipped.date()).days
            walls.add(days * DAY_MINUTES + there.hour * 60 + there.minute)
    return walls


def _interval(schedule: Schedule, due: datetime.datetime, machine_zone: ZoneInfo, year: int) -> CronExpression:
    period = int(schedule.period.total_seconds()) // 60
    first = ceil_to(due.astimezone(UTC), protocol.MINUTE)
    offsets = {each.shift for each in _shifts(ZoneInfo("UTC"), machine_zone, year)}
    step = math.gcd(period, DAY_MINUTES)
    by_offset = [{(first.hour * 60 + first.minute + offset + nth * step) % DAY_MINUTES
                  for nth in range(DAY_MINUTES // step)} for offset in offsets]
    weekdays = WEEKDAY.whole
    if period % WEEK_MINUTES == 0:
        weekdays = frozenset(_weekday((first + datetime.timedelta(minutes=offset)).date()) for offset in offsets)
    time = _time(by_offset, starred=bool(coming_changes(machine_zone, year)))
    expressible = DAY_MINUTES % period == 0 or (period == WEEK_MINUTES and len(weekdays) == 1)
    return CronExpression(f"{time} * * {_compact(WEEKDAY, weekdays, star='*')}", expressible
                          and _is_exact(time, by_offset))


def _once(due: datetime.datetime) -> CronExpression:
    """Return the line of one time, which cron would start every year: it is removed when the job has run."""
    time = _time([{due.hour * 60 + due.minute}], starred=bool(due.fold))
    return CronExpression(f"{time} {due.day} {due.month} *", not due.fold)


class _CoveredDays(NamedTuple):
    fields: str
    exact: bool


@lru_cache(maxsize=256)
def _cover_days(days: Days, months: frozenset[int], offsets: frozenset[int]) -> _CoveredDays:
    """Return the day-of-month, month and day-of-week fields that name all wanted days and the fewest others.

    Wanted are the `days` of `months`, moved by each of `offsets` (days).
    """
    if days.every and months == MONTH.whole:
        return _CoveredDays("* * *", True)
    wanted = _moved(days, months, offsets)
    in_months, on_days, on_weekdays = ({day.month for day in wanted}, {day.day for day in wanted},
                                       {_weekday(day) for day in wanted})
    candidates = [
        ("*", _compact(WEEKDAY, on_weekdays, star="*")),
        (_compact(DAY, on_days, star="*"), "*"),
        (_with_leading_star(DAY, on_days), _compact(WEEKDAY, on_weekdays)),
        (_compact(DAY, on_days), _with_leading_star(WEEKDAY, on_weekdays)),
    ]
    of_weeks = Days(weekdays=days.weekdays, nth=days.nth)
    of_months = days._replace(weekdays=frozenset(), nth=frozenset())
    for some, others in ((of_weeks, of_months), (Days(weekdays=days.weekdays), of_months._replace(nth=days.nth))):
        by_week, by_month = _moved(some, months, offsets), _moved(others, months, offsets)
        if by_week and by_month:
            candidates.append((_compact(DAY, {day.day for day in by_month}),
                               _compact(WEEKDAY, {_weekday(day) for day in by_week})))
    counts = [_count_days(*texts, in_months) for texts in candidates]
    fewest = min(counts)
    day_text, weekday_text = candidates[counts.index(fewest)]
    return _CoveredDays(f"{day_text} {_compact(MONTH, in_months, star='*')} {weekday_text}",
                        fewest == sum(day in wanted for day in CYCLE))


def _count_days(day_text: str, weekday_text: str, months: set[int]) -> int:
    """Return the number of days of the CYCLE on which cron starts a job with these day fields in `months`."""
    of_month, of_week = _numbers(DAY, day_text), _numbers(WEEKDAY, weekday_text)
    join = all if "*" in (day_text[0], weekday_text[0]) else any
    return sum(day.month in months and join((day.day in of_month, _weekday(day) in of_week)) for day in CYCLE)


def _moved(days: Days, months: frozenset[int], offsets: frozenset[int]) -> set[datetime.date]:
    """Return the days of the CYCLE that are by one of `offsets` after one of `days` in `months`."""
    steps = [datetime.timedelta(offset) for offset in offsets]
    return {day for day in CYCLE for step in steps if (day - step).month in months and days.match(day - step)}


def _weekday(day: datetime.date) -> int:
    return day.isoweekday() % 7


class _Shift(NamedTuple):
    """A time, from `start` to `end`, in which cron's clock is ahead of the Hermes zone's by `shift` minutes."""

    start: datetime.datetime
    end: datetime.datetime
    shift: int


@lru_cache(maxsize=64)
def _shifts(zone: ZoneInfo, machine_zone: ZoneInfo, year: int) -> tuple[_Shift, ...]:
    """Return how far the clock of `machine_zone` is ahead of that of `zone`, from `year` on, in the order of time."""
    start, end = (datetime.datetime(each, 1, 1, tzinfo=UTC) for each in (year, year + YEARS_AHEAD + 1))
    if zone.key == machine_zone.key:
        return (_Shift(start, end, 0),)
    clock_changes = (change.at for each in (zone, machine_zone) for change in coming_changes(each, year))
    moments = sorted({start, end, *clock_changes})
    return tuple(_Shift(moment, until, _minutes_ahead(moment, zone, machine_zone))
                 for moment, until in pairwise(moments))


def _minutes_ahead(moment: datetime.datetime, zone: ZoneInfo, machine_zone: ZoneInfo) -> int:
    there, here = (moment.astimezone(each).replace(tzinfo=None) for each in (machine_zone, zone))
    return int((there - here).total_seconds()) // 60


def _time(walls: list[set[int]], starred: bool) -> str:
    """Return the minute and hour fields that cover all `walls`, minutes of a day.

    If `starred`, one of the two begins with a star, the one by which cron starts the job less often.
    """
    every = set().union(*walls)
    minutes, hours = {wall % 60 for wall in every}, {wall // 60 % 24 for wall in every}
    minute, hour = _compact(MINUTE, minutes, star="*"), _compact(HOUR, hours, star="*")
    if starred and "*" not in (minute, hour):
        more_by_minute, more_by_hour = (0 not in minutes) * len(hours), (0 not in hours) * len(minutes)
        if more_by_minute < more_by_hour:
            minute = _with_leading_star(MINUTE, minutes)
        else:
            hour = _with_leading_star(HOUR, hours)
    return f"{minute} {hour}"


def _is_exact(time: str, walls: list[set[int]]) -> bool:
    """Return True if `time`, a minute and an hour field, names the same minutes of the day as each of `walls`."""
    named = _named(time)
    return all({wall % DAY_MINUTES for wall in each} == named for each in walls)


def _named(time: str) -> set[int]:
    """Return the minutes of the day that `time`, a minute and an hour field, names."""
    minute, hour = time.split()
    return {h * 60 + m for h in _numbers(HOUR, hour) for m in _numbers(MINUTE, minute)}


def _keep_if_vixie_compatible(text: str, field: Field, numbers: Iterable[int]) -> str:
    """Return `text`, of canonical cron, if it means `numbers` to cron too; else those, starred if `text` is."""
    items = [VIXIE_ITEM.fullmatch(item) for item in text.split(",")]
    if all(item and not (item[4] and int(item[4]) <= int(item[2])) for item in items) and not (
            field.name in NOT_FOR_BUSYBOX and NOT_FOR_BUSYBOX[field.name].search(text)):
        return text
    return _with_leading_star(field, numbers) if text.startswith("*") else _compact(field, numbers)


def _with_leading_star(field: Field, numbers: Iterable[int]) -> str:
    """Return `numbers`, and the field's lowest, in a list that begins with a star."""
    rest = set(numbers) - {field.low}
    return f"*/{field.high + 1}" + (f",{_compact(field, rest)}" if rest else "")


def _compact(field: Field, numbers: Iterable[int], star: str = "") -> str:
    """Return `numbers` in cron's syntax, with no star in front; all of `field` is `star`, if that is given."""
    values = sorted(numbers)
    low, high = values[0], values[-1]
    if star and len(values) == len(field.whole):
        return star
    step = values[1] - low if len(values) > 2 else 0
    if step > 1 and values == list(range(low, high + 1, step)):
        return f"{low}-{high}/{step}"
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges(values))


def _numbers(field: Field, text: str) -> frozenset[int]:
    """Return the numbers that `text`, written by this module, means to cron."""
    numbers: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        low, _, high = span.replace("*", f"{field.low}-{field.high}").partition("-")
        numbers.update(range(int(low), int(high or low) + 1, int(step or 1)))
    return frozenset(numbers)
