"""A second opinion on cron expressions: croniter, by which the agent fires, must agree with our occurrences.

It is asked when a job is created, changed, adopted or verified. It is not asked when a job fires or is shown, because
the import of croniter takes 50 ms; an answer takes 1 to 20 ms (docs/dependencies.md).

Two differences are intended and not compared:

- Clock changes. croniter does not follow cron(8) there, so the days from the day before a change to the day after it
  are left out.
- Both day fields, one of them with `15W`, `5#2` or `L5`. croniter ignores the day of the month, or requires both; here
  either one counts, as with plain numbers. croniter is asked for each field by itself.
"""

import contextlib
import datetime
from zoneinfo import ZoneInfo

from ..errors import shortened
from . import cron, cron_text
from .model import CRON, Schedule, ScheduleError
from .occurrences import first_instant_of, first_occurrences, steady_offset
from .words import unwrap
from .zones import split_zone

MAX_COMPARED = 24
"""The number of occurrences that are compared."""
REMEDY = "Write the schedule in another form, and report this as a bug."
ONE_DAY = datetime.timedelta(days=1)


def require_agreement(schedule: Schedule, text: str, zone: ZoneInfo, now: datetime.datetime) -> None:
    """Raise ScheduleError if croniter reads `text`, from which `schedule` was parsed, in another way."""
    if sentence := disagreement(schedule, text, zone, now):
        raise ScheduleError(sentence)


def disagreement(schedule: Schedule, text: str, zone: ZoneInfo, now: datetime.datetime) -> str | None:
    """Return a sentence with both times if croniter has other occurrences after `now` than `schedule`, else None.

    `text` is the cron expression as it was written. If it is something else, such as `weekdays at 9:30`, croniter reads
    the expression of `schedule`. Other kinds of schedules are never compared.
    """
    if schedule.kind != CRON:
        return None
    start = _next_steady_day(now.astimezone(zone).replace(tzinfo=None), zone)
    ours = [due.astimezone(zone).replace(tzinfo=None)
            for due in first_occurrences(schedule, MAX_COMPARED, first_instant_of(start, zone), zone)]
    words = unwrap(text)
    written = words.lower() in cron.MACROS or (cron_text.is_cron(words.lower()) and not split_zone(words)[1])
    expression = cron.without_second(words) if written else schedule.expression
    try:
        theirs = _occurrences_of_croniter(expression, start, len(ours))
    except Exception as error:  # its own errors, and those of its bugs
        return f"croniter, by which the agent fires, does not accept '{shortened(expression)}': {error}. {REMEDY}"
    # Both lists are cut after the same number of occurrences, so one of them may reach further.
    for our, their in zip(_on_steady_days(ours, zone), _on_steady_days(theirs, zone), strict=False):
        if our != their:
            return _sentence(expression, our, their)
    if len(theirs) < len(ours):
        return _sentence(expression, ours[len(theirs)], None)
    return None


def _sentence(expression: str, our: datetime.datetime, their: datetime.datetime | None) -> str:
    then = f"at {their:%Y-%m-%d %H:%M}" if their else "never"
    return (f"'{shortened(expression)}' is due at {our:%Y-%m-%d %H:%M} as hermes-oscron reads it, but {then} as "
            f"croniter does, by which the agent fires. {REMEDY}")


def _occurrences_of_croniter(expression: str, start: datetime.datetime, count: int) -> list[datetime.datetime]:
    """Return the first `count` occurrences of `expression` after `start`; fewer if croniter finds fewer."""
    from croniter import CroniterBadDateError, croniter  # 50 ms, which only these callers should pay

    found: set[datetime.datetime] = set()
    for alone in _day_fields_alone(expression):
        search = croniter(alone, start, ret_type=datetime.datetime)
        with contextlib.suppress(CroniterBadDateError):
            for _ in range(count):
                found.add(search.get_next())
    return sorted(found)[:count]


def _day_fields_alone(expression: str) -> list[str]:
    """Return the expressions whose occurrences, together, `expression` should have."""
    days = cron.parse(expression).days
    minute, hour, day, month, weekday = cron.fields_of(expression)
    of_month = days.of_month or days.last or days.nearest_weekday
    of_week = days.weekdays or days.nth
    if of_month and of_week and (days.nearest_weekday or days.nth):
        return [f"{minute} {hour} {day} {month} *", f"{minute} {hour} * {month} {weekday}"]
    return [expression]


def _next_steady_day(start: datetime.datetime, zone: ZoneInfo) -> datetime.datetime:
    """Return `start` (naive) or, if the clock changes around that day, the midnight after which it does not."""
    while not _is_steady(start.date(), zone):
        start = start.replace(hour=0, minute=0, second=0, microsecond=0) + ONE_DAY
    return start


def _on_steady_days(times: list[datetime.datetime], zone: ZoneInfo) -> list[datetime.datetime]:
    return [time for time in times if _is_steady(time.date(), zone)]


def _is_steady(day: datetime.date, zone: ZoneInfo) -> bool:
    """Return True if the clock in `zone` changes neither on `day` nor on the day before or after it."""
    return all(steady_offset(day + days * ONE_DAY, zone) is not None for days in (-1, 0, 1))
