"""The parts of a schedule in words, and the error for parts that make no schedule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import shortened
from . import cron
from .model import ScheduleError, interval
from .words import DAY_PARTS, MONTH_NAMES

Form = str | tuple[str, str]
"""A schedule to write instead; the second of two is a note on it."""


class Refusal(ScheduleError):
    """The error for a text that is not a schedule.

    `reason` continues the text, as "has no time". Of `forms`, which are to be written instead, a reader offers those
    that are accepted; `all_of` if they are needed together.
    """

    def __init__(self, reason: str, *forms: Form, all_of: bool = False) -> None:
        super().__init__(reason)
        self.forms, self.all_of = forms, all_of

    def sentence(self, text: str, examples: Mapping[str, str] = MappingProxyType({})) -> str:
        """Return the sentence for `text`, with all forms; `examples` contains one for the name of each kind."""
        reason = f"'{shortened(text)}' {self.message}".replace("`", "'")  # backticks enclose forms
        if not self.forms:
            *others, last = [f"{name} ({example})" for name, example in examples.items()] or [""]
            return f"{reason}; write {', '.join(others)} or {last}." if last else f"{reason}."
        listed = [f"`{form}`" if isinstance(form, str) else f"`{form[0]}` ({form[1]})" for form in self.forms]
        written = " and ".join(listed) if self.all_of else ", or ".join(listed)
        return f"{reason}; write {written}" + (f" (other forms: {', '.join(examples.values())})." if examples else ".")


def length(minutes: Fraction | int) -> str:
    """Return whole `minutes` in the largest unit, such as `2h`."""
    return interval(int(minutes)).expression.removeprefix("every ")


class Time(NamedTuple):
    """A time of day; `written_hour` if only the hour is written, without am or pm.

    `either_half` if it is on a clock of twelve hours and may be in the morning or the afternoon.
    """

    hour: int
    minute: int = 0
    second: int = 0
    written_hour: bool = False
    either_half: bool = False

    def __str__(self) -> str:
        return f"{self.hour}:{self.minute:02}" + (f":{self.second:02}" if self.second else "")

    @property
    def padded(self) -> str:
        """The hour with two digits, and the minute."""
        return f"{self.hour:02}:{self.minute:02}"


@dataclass
class Phrase:
    """The parts of a text in words, as far as they are read."""

    text: str
    flags: set[str] = field(default_factory=set)
    """Of `every`, `once`, and the words of periods: `day`, `daily`, `month`, `monthly`, …"""
    times: list[Time] = field(default_factory=list)
    past_hour: int | None = None
    weekdays: list[str] = field(default_factory=list)
    """The items of a day-of-week field."""
    single_weekday: str = ""
    """The one day that is named without an "every", as it is written."""
    nth: list[tuple[int, int]] = field(default_factory=list)
    month_days: list[str] = field(default_factory=list)
    months: str = ""
    date: tuple[int | None, int, int] | None = None
    """Year, month, day."""
    days_ahead: int | None = None
    coming_weekday: tuple[int, int] | None = None
    """A weekday of which the next one is meant, and the number of days from now on which it may be."""
    part_of_day: str = ""
    minutes: Fraction | None = None
    delay: Fraction | None = None
    calendar_months: Fraction | None = None
    """The number of months of an interval or a delay in months, quarters or years."""
    alternate: str = ""
    """The unit or the weekday of "every third day", of which `every_nth` is the number."""
    every_nth: int = 2
    window: tuple[Time, Time] | None = None

    def set_once(self, name: str, value: object) -> None:
        """Set the part `name`. Raises Refusal if the text has two of it."""
        if getattr(self, name) not in (None, ""):
            raise self._two_parts(name)
        setattr(self, name, value)

    def extend(self, name: str, values: list[Any]) -> None:
        """Add to the list `name`. Raises Refusal if times stand between, and belong to one of both."""
        if getattr(self, name) and self.times:
            raise self._two_parts(name)
        getattr(self, name).extend(values)

    @property
    def names_days(self) -> bool:
        return bool(self.weekdays or self.month_days or self.nth or self.months or self.date
                    or self.coming_weekday or self.days_ahead is not None)

    @property
    def weekday_field(self) -> str:
        """The day-of-week field; `*` if no day is named."""
        if len(self.weekdays) < 2:
            return (self.weekdays or ["*"])[0]
        return ",".join(map(str, self.weekday_numbers))

    @property
    def weekday_numbers(self) -> list[int]:
        return sorted({day for item in self.weekdays for day in cron.parse(f"0 0 * * {item}").days.weekdays})

    @property
    def example_time(self) -> Time:
        """The first time, or one for an example."""
        return self.times[0] if self.times else Time(DAY_PARTS[self.part_of_day][2] if self.part_of_day else 9)

    @property
    def days_field(self) -> str:
        """The fields for the day of the month, the month and the day of the week."""
        return f"{','.join(self.month_days) or '*'} {self.months or '*'} {self.weekday_field}"

    def at(self, time: Time) -> str:
        """Return a schedule at `time` on the days of the text, as far as they are read."""
        if self.days_ahead is not None:
            after_midnight = self.part_of_day in ("evening", "night") and time.hour < 4
            day = ("today", "tomorrow", "the day after tomorrow")[min(2, self.days_ahead + after_midnight)]
            return f"{day} at {time}"
        if self.coming_weekday:
            weekday, ahead = self.coming_weekday
            return f"{'next' if ahead else 'this'} {cron.WEEKDAY_NAMES[weekday].lower()} at {time}"
        if self.date:
            year, month, day_of_month = self.date
            return (f"{year}-{month:02}-{day_of_month:02} {time.padded}" if year else
                    f"{MONTH_NAMES[month - 1].lower()} {day_of_month} at {time}")
        if self.names_days:
            return f"{time.minute} {time.hour} {self.days_field}"
        return f"daily at {time}"

    def _two_parts(self, name: str) -> Refusal:
        return Refusal(f"has two parts of one kind ({_PART_NAMES.get(name, name)}), which need two jobs")


_PART_NAMES = {"minutes": "intervals", "delay": "delays", "nth": "weekdays of the month", "month_days": "days",
               "part_of_day": "parts of the day", "days_ahead": "days", "coming_weekday": "weekdays",
               "past_hour": "minutes", "window": "hours", "date": "dates"}
