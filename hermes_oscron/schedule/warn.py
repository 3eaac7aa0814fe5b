"""Warn of schedules that mean less or more than most of their authors expect."""

import calendar
import datetime
import re

from . import cron
from .model import CRON, INTERVAL, UNIT_MINUTES, Schedule
from .words import MONTH_NAMES, ordinal

MAX_LISTED = 4


def warnings_of(schedule: Schedule, local: datetime.datetime) -> list[str]:
    """Return a sentence for each surprise in `schedule`; `local` is the present time in its zone."""
    if schedule.kind == INTERVAL:
        return _interval_warnings(schedule, local)
    if schedule.kind != CRON:
        return []
    found = [each(schedule.expression) for each in (_every_minute, _over_midnight, _either_day, _missing_day)]
    found += [_uneven_step(schedule.expression, position) for position in range(5)]
    return [sentence for sentence in found if sentence]


def _interval_warnings(schedule: Schedule, local: datetime.datetime) -> list[str]:
    days, rest = divmod(int(schedule.period.total_seconds()) // 60, UNIT_MINUTES["d"])
    if rest:
        return []
    weekday = f"every {cron.WEEKDAY_NAMES[local.isoweekday() % 7].lower()} at {local:%H:%M}"
    day = min(local.day, 28) if local.month == 2 else local.day
    same = {1: f"daily at {local:%H:%M}", 7: weekday, 365: f"yearly on {local:%B} {day} at {local:%H:%M}".lower()}
    length = "24 hours" if days == 1 else f"{days} times 24 hours"
    if days in same:
        keeps = f"always at the same time of day is `{same[days]}`"
    else:
        near = f"`{weekday}`, which is every week" if days % 7 == 0 else f"`{same[1]}`, which is every day"
        keeps = f"at the same time of day there is only {near}"
    return [f"It runs {length} apart, so at another time of day after a change of clocks; {keeps}."]


def _every_minute(expression: str) -> str | None:
    _, hour, day, month, weekday = expression.split(" ")
    parsed = cron.parse(expression)
    if parsed.minutes != cron.MINUTE.whole or (hour, day, month, weekday) == ("*",) * 4:
        return None
    if parsed.hours == cron.HOUR.whole:
        return f"It runs 1440 times, every minute of its days; once a day is `0 0 {day} {month} {weekday}`."
    once = f"`0 {hour} {day} {month} {weekday}`"
    if len(parsed.hours) == 1:
        [only] = parsed.hours
        return f"It runs 60 times, from {only}:00 to {only}:59; once is {once}."
    count = len(parsed.hours)
    return f"It runs {60 * count} times a day, every minute of {count} hours; once an hour is {once}."


def _over_midnight(expression: str) -> str | None:
    """Warn of `9-5` in hours, which runs from 9:00 over midnight to 5:00."""
    minute, hour, *days = expression.split(" ")
    match = re.fullmatch(r"(\d+)-(\d+)(/\d+)?", hour)
    if not match or not int(match[2]) < int(match[1]) <= 12 or int(match[2]) + 12 <= int(match[1]):
        return None
    end = int(match[2]) + 12
    return (f"It runs from {match[1]}:00 over midnight to {match[2]}:59; until {end}:59 is "
            f"`{minute} {match[1]}-{end}{match[3] or ''} {' '.join(days)}`.")


def _either_day(expression: str) -> str | None:
    minute, hour, day, month, weekday = expression.split(" ")
    if day == "*" or weekday == "*" or "*" in day.split(",") or "*" in weekday.split(","):
        return None
    days = cron.parse(expression).days
    start = f"{minute} {hour}"
    longest = max(calendar.monthrange(2028, number)[1] for number in cron.parse(expression).months)
    if days.of_month and min(days.of_month) > longest:
        return f"It runs on every {_weekday_names(weekday)} only; none of its months has the {_ordinals(day)}."
    if "*" in day + weekday:
        return (f"It runs on days that either one of its day fields names, as in Hermes; in Debian's cron both must. "
                f"One of them alone is `{start} {day} {month} *` or `{start} * {month} {weekday}`.")
    both = f"It runs on the {_ordinals(day)} and on every {_weekday_names(weekday)}"
    if days.weekdays and (nth := _nth(days.of_month)):
        field = ",".join(f"L{number}" if nth == "last" else f"{number}#{nth}" for number in sorted(days.weekdays))
        named = "last" if nth == "last" else f"{ordinal(int(nth))}"
        return f"{both}; the {named} {_weekday_names(weekday)} is `{start} * {month} {field}`."
    return f"{both}, not only where both hold; one alone is `{start} {day} {month} *` or `{start} * {month} {weekday}`."


def _nth(days: frozenset[int]) -> str:
    """Return n if `days` are those on which the n-th weekday of a month falls, `last` for the last; else ""."""
    weeks = {frozenset(range(7 * n - 6, 7 * n + 1)): str(n) for n in (1, 2, 3, 4)}
    return weeks.get(days, "last" if days == frozenset(range(25, 32)) else "")


def _missing_day(expression: str) -> str | None:
    """Warn of a day, such as the 31st, that some months do not have."""
    minute, hour, day, month, weekday = expression.split(" ")
    months = cron.parse(expression).months
    if not day.isdigit() or weekday != "*" or months == {2}:
        return None
    lacking = [number for number in sorted(months) if calendar.monthrange(2027, number)[1] < int(day)]
    if not lacking:
        return None
    names = [MONTH_NAMES[number - 1] for number in lacking]
    return (f"It does not run in {' and '.join([', '.join(names[:-1]), names[-1]] if len(names) > 1 else names)}"
            f"{' of most years' if lacking == [2] and day == '29' else ''}; the last day of each month is "
            f"`{minute} {hour} L {month} *`.")


def _uneven_step(expression: str, position: int) -> str | None:
    """Warn of a step that does not divide its field, such as `*/50` in minutes."""
    fields = expression.split(" ")
    field, text = cron.FIELDS[position], fields[position]
    match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)/(\d+)", text)
    if not match or (match[2] and (int(match[1]), int(match[2])) != (field.low, field.high)):
        return None
    step = int(match[3])
    values = range(int(match[1] or field.low), field.high + 1, step)
    size = field.high - field.low + 1
    if step < 2 or (position != 2 and size % step == 0 and values[0] - field.low < step):
        return None
    listed = [_value(position, value) for value in values[:MAX_LISTED]]
    at = ", ".join(listed) + ", …" if len(values) > MAX_LISTED else " and ".join(
        [", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
    period = ("each hour", "each day", "each month", "each year", "each week")[position]
    word = "at" if position < 2 else "on" if position in (2, 4) else "in"
    unit = ("minutes", "hours", "days", "months", "days")[position]
    said = f"'{text}' is {word} {at} of {period}, and not {step} {unit} apart from one {period[5:]} to the next"
    others = fields[position + 1:] + [other for other in fields[:position] if not other.isdigit()]
    if position == 3 or set(others) - {"*"}:
        return f"{said}."
    return f"{said}; every {step} {unit} is `every {step}{unit[0]}`."


def _value(position: int, value: int) -> str:
    """Return the name of `value` in the field at `position`."""
    if position == 3:
        return MONTH_NAMES[value - 1]
    if position == 4:
        return cron.WEEKDAY_NAMES[value % 7]
    return (f":{value:02}", f"{value}:00", f"the {ordinal(value)}")[position]


def _ordinals(day: str) -> str:
    named = re.sub(r"\d+", lambda match: ordinal(int(match[0])), day.replace("W", "")).replace("L", "last day")
    return named.replace("-", " to ").replace(",", ", ") + (" (nearest weekday)" if "W" in day else "")


def _weekday_names(weekday: str) -> str:
    def name(match: re.Match[str]) -> str:
        full = cron.WEEKDAY_NAMES[int(match[2]) % 7]
        return f"last {full}" if match[1] else f"{ordinal(int(match[3]))} {full}" if match[3] else full

    items = [re.sub(r"(L)?(\d)(?:#(\d))?", name, item).replace("-", " to ") for item in weekday.split(",")]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
