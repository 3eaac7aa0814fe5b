"""A five-field cron expression as sets of numbers.

The language is croniter's, by which the agent fires: names, lists, ranges, steps, wrapping ranges, `L`, `5#2`, `L5`,
`15W`, `?` and the macros. This module defines only what an expression means; occurrences.py defines when it fires.
"""

import datetime
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from .model import ScheduleError

WEEKDAY_NAMES = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
MAX_EXPRESSION_CHARS = 4096
LAST = 0
"""Stands for n in "the n-th weekday of the month" and means the last one."""


class Field(NamedTuple):
    """One of the five fields: its name and the numbers that it may contain."""

    name: str
    low: int
    high: int
    names: dict[str, int]

    @property
    def whole(self) -> frozenset[int]:
        return frozenset(range(self.low, self.high + 1))

    def error(self, reason: str) -> ScheduleError:
        return ScheduleError(f"Bad {self.name}: {reason}")

    def number(self, token: str) -> int:
        """Return the number for `token`, digits or a name. Raises ScheduleError."""
        if token in self.names:
            return self.names[token]
        if not re.fullmatch(r"[0-9]{1,9}", token):
            raise self.error(f"'{token}' is neither a number nor a name.")
        value = int(token)
        if self.name == "day-of-week" and value == 7:
            value = 0
        if not self.low <= value <= self.high:
            sunday = self.name == "day-of-week"
            raise self.error(f"{token} is outside {'0-7 (Sunday is 0 or 7)' if sunday else f'{self.low}-{self.high}'}.")
        return value


MINUTE = Field("minute", 0, 59, {})
HOUR = Field("hour", 0, 23, {})
DAY = Field("day-of-month", 1, 31, {})
MONTH = Field("month", 1, 12, {name: i for i, name in enumerate(MONTHS, 1)})
WEEKDAY = Field("day-of-week", 0, 6, {name: i for i, name in enumerate(WEEKDAYS)})
SECOND = Field("second", 0, 59, {})
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


class Days(NamedTuple):
    """The days of a month on which a cron expression fires: those that any of its parts names.

    Weekdays count from Sunday, 0.
    """

    every: bool = False
    of_month: frozenset[int] = frozenset()
    last: bool = False
    nearest_weekday: int | None = None
    weekdays: frozenset[int] = frozenset()
    nth: frozenset[tuple[int, int]] = frozenset()

    def match(self, day: datetime.date) -> bool:
        if self.every or day.day in self.of_month:
            return True
        weekday = day.isoweekday() % 7
        if weekday in self.weekdays:
            return True
        month_end = _days_in_month(day)
        return (
            (self.last and day.day == month_end)
            or (weekday, (day.day + 6) // 7) in self.nth
            or ((weekday, LAST) in self.nth and day.day > month_end - 7)
            or (self.nearest_weekday is not None
                and day.day == _nearest_weekday(day, self.nearest_weekday, month_end))
        )


class Cron(NamedTuple):
    """A parsed expression.

    `by_elapsed_time` is cron(8)'s rule for clock changes: a job with a star in minute or hour runs by elapsed time, any
    other keeps its wall-clock time and runs once for each.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: Days
    months: frozenset[int]
    by_elapsed_time: bool


def fields_of(expression: str) -> list[str]:
    """Return the five fields of `expression` in lower case, macros spelled out. Raises ScheduleError."""
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise ScheduleError(f"A cron expression has at most {MAX_EXPRESSION_CHARS} characters; "
                            f"this one has {len(expression)}.")
    lowered = expression.strip().lower()
    if lowered.startswith("@"):
        if lowered not in MACROS:
            raise ScheduleError(f"'{expression}' is not a macro of cron: {', '.join(MACROS)}.")
        lowered = MACROS[lowered]
    fields = re.findall(r"\S+", lowered, re.ASCII)
    if len(fields) != 5:
        raise ScheduleError(
            f"A cron expression has five fields (minute hour day-of-month month day-of-week); "
            f"'{expression}' has {len(fields)}."
        )
    return fields


@lru_cache(maxsize=4096)
def parse(expression: str) -> Cron:
    """Parse `expression`.

    Raises ScheduleError with the field that is wrong. Day-of-month and day-of-week both given mean either one.
    """
    minute, hour, day, month, weekday = fields_of(expression)
    return Cron(
        minutes=_numbers(MINUTE, minute),
        hours=_numbers(HOUR, hour),
        days=_days(day, weekday),
        months=_numbers(MONTH, month),
        by_elapsed_time=minute.startswith("*") or hour.startswith("*"),
    )


def canonical(expression: str) -> str:
    """Return `expression` with macros and names spelled out as numbers; it means the same."""
    parse(expression)
    return " ".join(
        _canonical_field(field, text) for field, text in zip(FIELDS, fields_of(expression), strict=True)
    )


def without_second(expression: str) -> str:
    """Return the five fields of a stored `expression` whose sixth is the second, as in croniter.

    The agent looks for due jobs once a minute, so it runs them once in that minute. Raises ScheduleError.
    """
    fields = expression.split()
    if len(fields) == 6:
        _numbers(SECOND, fields.pop())
    return " ".join(fields)


def _canonical_field(field: Field, text: str) -> str:
    if text == "?":
        return "*"
    items = [_canonical_item(field, item) for item in text.split(",")]
    if field is WEEKDAY and all(item.isdigit() for item in items):
        items = [str(n) for n in sorted({int(item) % 7 for item in items})]
    return ",".join(items)


def _canonical_item(field: Field, item: str) -> str:
    named_range = re.fullmatch(r"([a-z]+)-([a-z]+)#(\d+)", item)
    if named_range:  # croniter takes 'mon-wed#2' but not '1-3#2'
        low, high, nth = named_range.groups()
        span = _span(field, field.names[low], field.names[high], 1)
        return ",".join(f"{weekday}#{int(nth)}" for weekday in span)
    same = re.fullmatch(r"(\w+)-(\w+)(/\d+)?", item, re.ASCII)
    if same and field.number(same[1]) == field.number(same[2]):
        return f"{field.low}-{field.high}{same[3] or ''}"
    if field is WEEKDAY:
        item = re.sub(r"-(sun|0+)\b(?!#)", "-7", item)
    item = re.sub(r"[a-z]{3}", lambda m: str(field.names.get(m.group(), m.group())), item)
    return re.sub(r"[0-9]+", lambda m: str(int(m.group())), item).upper()


def _days(day: str, weekday: str) -> Days:
    of_month, of_week = _month_days(day), _weekdays(weekday)
    # If the other day field has a star (`*/2`), a list of all days counts as one too, in croniter as in Debian's cron.
    any_day = _is_star(day) or (of_month.of_month == DAY.whole and "*" in weekday)
    any_weekday = _is_star(weekday) or (of_week.weekdays == WEEKDAY.whole and "*" in day)
    if any_day:
        return Days(every=True) if any_weekday else of_week
    if any_weekday:
        return of_month
    either = of_month._replace(weekdays=of_week.weekdays, nth=of_week.nth)
    has_only_numbers = either == Days(of_month=of_month.of_month, weekdays=of_week.weekdays)
    if has_only_numbers and (of_month.of_month == DAY.whole or of_week.weekdays == WEEKDAY.whole):
        return Days(every=True)
    return either


def _is_star(text: str) -> bool:
    return text == "?" or "*" in text.split(",")


def _month_days(text: str) -> Days:
    nearest = re.fullmatch(r"(\d+)w|w(\d+)", text, re.ASCII)
    if nearest:
        return Days(nearest_weekday=DAY.number(nearest[1] or nearest[2]))
    items = text.split(",")
    last = "l" in items
    if last and "?" in items:
        raise DAY.error("'?' stands alone.")
    rest = [item.replace("-l", "-31") for item in items if item != "l"]
    numbers = _numbers(DAY, ",".join(rest)) if rest else frozenset()
    return Days(of_month=numbers, last=last)


def _weekdays(text: str) -> Days:
    plain: list[str] = []
    nth: set[tuple[int, int]] = set()
    for item in text.split(","):
        numbered = re.fullmatch(r"(\w+|[a-z]{3}-[a-z]{3})#(\d{1,9})", item, re.ASCII)
        if numbered:
            which = int(numbered[2])
            if not 1 <= which <= 5:
                raise WEEKDAY.error(f"'#{which}' is outside #1-#5.")
            nth.update((weekday, which) for weekday in _item(WEEKDAY, numbered[1]))
        elif re.fullmatch(r"l\d+", item, re.ASCII):
            nth.add((WEEKDAY.number(item[1:]), LAST))
        else:
            plain.append(item)
    if nth and plain:
        raise WEEKDAY.error(f"'{text}' mixes weekdays of every week with numbered ones, which need two jobs.")
    return Days(weekdays=_numbers(WEEKDAY, ",".join(plain)) if plain else frozenset(), nth=frozenset(nth))


def _numbers(field: Field, text: str) -> frozenset[int]:
    if text == "?" and field in (DAY, WEEKDAY):
        return field.whole
    numbers: set[int] = set()
    for item in text.split(","):
        numbers.update(_item(field, item))
    return frozenset(numbers)


def _item(field: Field, item: str) -> Iterator[int]:
    """Return the numbers of one list item: `*`, `*/5`, `7`, `7/5`, `1-5`, `1-5/2`."""
    if re.match(r"[hr]([(/]|$)", item):
        raise field.error(f"'{item}' is a time that a program chooses, and here the time itself is needed.")
    body, slash, step_text = item.partition("/")
    if slash and not re.fullmatch(r"[0-9]{1,9}", step_text):
        raise field.error(f"the step in '{item}' is not a number.")
    step = int(step_text) if slash else 1
    if step == 0:
        raise field.error(f"the step in '{item}' is zero.")
    if body == "*":
        return iter(range(field.low, field.high + 1, step))
    low_text, dash, high_text = body.partition("-")
    low = field.number(low_text)
    if not dash:
        return iter(range(low, field.high + 1, step) if slash else (low,))
    return iter(_span(field, low, field.number(high_text), step))


def _span(field: Field, low: int, high: int, step: int) -> list[int]:
    """Return `low` to `high` by `step`. As in croniter, `5-5` is the whole field, and `5-2` wraps around."""
    if low == high:
        return list(range(field.low, field.high + 1, step))
    if low < high:
        return list(range(low, high + 1, step))
    before = list(range(low, field.high + 1, step))
    left_over = field.high - before[-1]
    # If a step does not land on the field's first number, croniter starts one late; the agent fires by it.
    skip = step - left_over if left_over + 1 < step else 0
    return before + list(range(field.low + skip, high + 1, step))


def _days_in_month(day: datetime.date) -> int:
    """Return the number of days in the month of `day`. Importing calendar would cost each fire 2 ms."""
    next_month = day.replace(day=28) + datetime.timedelta(days=4)
    return (next_month - datetime.timedelta(days=next_month.day)).day


def _nearest_weekday(day: datetime.date, target: int, month_end: int) -> int:
    """Return the day of `<target>W` in the month of `day`: the nearest from Monday to Friday within the month."""
    target = min(target, month_end)
    weekday = day.replace(day=target).isoweekday()
    if weekday == 6:
        return target - 1 if target > 1 else target + 2
    if weekday == 7:
        return target + 1 if target < month_end else target - 2
    return target


def ranges(values: list[int]) -> list[tuple[int, int]]:
    """Return the sorted `values` as ranges, both ends included; a range of two numbers is given as two single ones."""
    found: list[tuple[int, int]] = []
    for value in values:
        if found and value == found[-1][1] + 1:
            found[-1] = (found[-1][0], value)
        else:
            found.append((value, value))
    return [part for a, b in found for part in ([(a, b)] if b - a != 1 else [(a, a), (b, b)])]
