"""A schedule in words, for people who read it: `At 09:00 and 17:00, Monday to Friday`. It need not parse back."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

from . import cron
from .cron import HOUR, MINUTE, MONTH, WEEKDAY_NAMES, Days
from .display import display_schedule
from .model import CRON, Schedule
from .words import MONTH_NAMES, ordinal

MAX_TIMES = 6
"""The most times of day that are listed one by one."""
WHOLE_WEEK = [1, 2, 3, 4, 5, 6, 0]
"""The weekdays from Monday on."""


def describe(schedule: Schedule, zone: ZoneInfo) -> str:
    """Return `schedule` in words; its times are of `zone`."""
    if schedule.kind != CRON:
        return display_schedule(schedule, zone)
    parsed = cron.parse(schedule.expression)
    parts = [_times(sorted(parsed.minutes), sorted(parsed.hours)), _days(parsed.days)]
    if parsed.months != MONTH.whole:
        parts.append(f"in {_spans(sorted(parsed.months), lambda month: MONTH_NAMES[month - 1])}")
    text = ", ".join(filter(None, parts))
    return f"Every day {text[0].lower()}{text[1:]}" if text.startswith("At ") and parts[1:] == [""] else text


def _times(minutes: list[int], hours: list[int]) -> str:
    """Return the times of day in words."""
    first, last = f"{hours[0]:02}:{minutes[0]:02}", f"{hours[-1]:02}:{minutes[-1]:02}"
    if len(minutes) * len(hours) <= MAX_TIMES:
        return f"At {_listed([f'{hour:02}:{minute:02}' for hour in hours for minute in minutes])}"
    every = _step(minutes, MINUTE.whole)
    if every:
        often = "Every minute" if every == 1 else f"Every {every} minutes"
        if len(hours) == len(HOUR.whole):
            return often
        if _is_range(hours) or len(hours) == 1:
            return f"{often} from {first} to {last}"
        return f"{often} in the hours {_spans(hours, lambda hour: f'{hour:02}')}"
    past = "" if minutes == [0] else f" at {_listed([f':{minute:02}' for minute in minutes])}"
    every = _step(hours, HOUR.whole)
    if every:
        return f"Every {'hour' if every == 1 else f'{every} hours'}{past}"
    if _is_range(hours):
        return f"Every hour{past}, from {first} to {last}"
    return f"In the hours {_spans(hours, lambda hour: f'{hour:02}')}{past or ' at :00'}"


def _days(days: Days) -> str:
    """Return the days of a month in words; "" for all of them."""
    if days.every:
        return ""
    parts = []
    if days.of_month:
        parts.append(f"on the {_spans(sorted(days.of_month), ordinal)}")
    if days.last:
        parts.append("on the last day of the month")
    if days.nearest_weekday is not None:
        parts.append(f"on the working day nearest to the {ordinal(days.nearest_weekday)}")
    parts += [f"on the {'last' if nth == cron.LAST else ordinal(nth)} {WEEKDAY_NAMES[weekday]}"
              for weekday, nth in sorted(days.nth)]
    if days.weekdays:
        places = sorted(WHOLE_WEEK.index(weekday) for weekday in days.weekdays)
        names = _spans(places, lambda place: WEEKDAY_NAMES[WHOLE_WEEK[place]])
        parts.append(names if " to " in names and not parts else f"on {names}")
    return " and ".join(parts)


def _step(values: list[int], whole: frozenset[int]) -> int | None:
    """Return the step from 0 that gives `values` and divides `whole` evenly; None if there is none."""
    step = values[1] - values[0] if len(values) > 1 else 0
    return step if step and len(whole) % step == 0 and values == list(range(0, len(whole), step)) else None


def _is_range(values: list[int]) -> bool:
    return len(values) > 1 and values[-1] - values[0] == len(values) - 1


def _spans(values: list[int], name: Callable[[int], str]) -> str:
    """Return `values` by their names; three and more in a row as a span."""
    parts: list[str] = []
    at = 0
    while at < len(values):
        end = at
        while end + 1 < len(values) and values[end + 1] == values[end] + 1:
            end += 1
        if end - at >= 2:
            parts.append(f"{name(values[at])} to {name(values[end])}")
        else:
            parts += [name(value) for value in values[at:end + 1]]
        at = end + 1
    return _listed(parts)


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
