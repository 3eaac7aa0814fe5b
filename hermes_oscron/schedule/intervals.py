"""Make an interval of the parts of a phrase, and refuse those that an interval cannot have."""

import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

from . import cron
from .model import MAX_YEAR, UNIT_MINUTES, Schedule, interval
from .phrase import Form, Phrase, Refusal, Time, length
from .words import UNITS, WEEKDAYS, ordinal

MAX_INTERVAL_MINUTES = 366 * UNIT_MINUTES["d"]
_DAY, _WEEK = UNIT_MINUTES["d"], 7 * UNIT_MINUTES["d"]
_HOURS = {"morning": (6, 12), "afternoon": (12, 18), "evening": (18, 22), "night": (22, 6)}
"""The first hour that each part of the day may mean, and the hour after the last one."""


def require_minutes(phrase: Phrase, minutes: Fraction) -> None:
    """Raise Refusal if an interval or a delay cannot be `minutes` long."""
    start = "every" if phrase.minutes is not None or phrase.alternate else "in"
    if minutes < 1:
        raise Refusal("is too short: a minute is the least", f"{start} 1m")
    if minutes > MAX_INTERVAL_MINUTES:
        raise Refusal("is too long: 366 days are the most", f"{start} 366d")
    if minutes.denominator != 1:
        below = int(minutes)
        raise Refusal("is not a whole number of minutes", f"{start} {length(below)}", f"{start} {length(below + 1)}")


def interval_of(phrase: Phrase) -> tuple[Schedule, list[str]]:
    """Return the interval of `phrase`, and warnings. Raises Refusal."""
    assert phrase.minutes is not None
    minutes = int(phrase.minutes)
    if phrase.part_of_day and not phrase.times:
        raise no_window(phrase)
    if phrase.times or phrase.names_days or phrase.past_hour is not None:
        if minutes >= _DAY:
            raise _no_form(phrase, minutes)
        raise Refusal("has an interval, which counts from now and has no days and times", *_stepped(phrase, minutes))
    if phrase.flags - {"every"}:
        raise Refusal("has two intervals", f"every {length(minutes)}")
    warnings = []
    if "every" not in phrase.flags:
        shown = length(minutes)
        count, unit = shown[:-1], {"m": "minute", "h": "hour", "d": "day"}[shown[-1]]
        warnings = [f"It runs every {unit if count == '1' else f'{count} {unit}s'} from now; once is `in {shown}`."]
    return interval(minutes), warnings


def _stepped(phrase: Phrase, minutes: int) -> list[Form]:
    """Return cron expressions of about every `minutes` minutes, on the days and from the first time of `phrase`."""
    start = phrase.times[0] if phrase.times else Time(0, phrase.past_hour or 0)
    if minutes < 60:
        forms: list[Form] = [] if phrase.times else [f"*/{minutes} * {phrase.days_field}"]
    elif minutes % 60 == 0 and _DAY % minutes == 0:
        forms = [f"{start.minute} {_hour_field(range(start.hour, start.hour + 24, minutes // 60))} "
                 f"{phrase.days_field}"]
    else:
        forms = []
    if not forms or not phrase.names_days:
        forms.append((f"every {length(minutes)}", "from now"))
    return forms


def _hour_field(hours: range) -> str:
    found = sorted({hour % 24 for hour in hours})
    if len(found) == 24:
        return "*"
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in cron.ranges(found))


def no_window(phrase: Phrase) -> Refusal:
    """Return the refusal of `every 30 minutes between 9am and 5pm`, which may or may not include the end.

    An interval in a part of the day has hours as well, which are not certain.
    """
    counted = "hourly" in phrase.flags or phrase.minutes is not None
    step = 60 if "hourly" in phrase.flags else int(phrase.minutes or 60)
    if not phrase.window:
        first, end = (Time(hour) for hour in _HOURS[phrase.part_of_day])
        form, note = _within(phrase, step, first, end, -1)
        return Refusal(f"names no hours, as {phrase.part_of_day} is not the same for everyone",
                       (form, f"from {first} {note}"))
    first, end = phrase.window
    if phrase.date or phrase.days_ahead is not None or phrase.coming_weekday or "once" in phrase.flags:
        once = f"once at {first}" if "once" in phrase.flags and not phrase.names_days else phrase.at(first)
        return Refusal("names hours, and a job that runs once has a time", once)
    if end.either_half and end[:2] <= first[:2] and first.hour <= 12 and end.hour < 12:
        end = end._replace(hour=end.hour + 12)
    forms = [_within(phrase, step, first, end, more) for more in (-1, 0)]
    if counted and forms[0] == forms[1]:
        return Refusal("names hours, and an interval counts from now", forms[0])
    if counted:
        return Refusal(f"may or may not include {end}", *forms)
    forms = [(form, f"every hour, {note}") for form, note in forms]
    return Refusal(f"names hours and no interval, and may or may not include {end}", *forms,
                   (phrase.at(first), "once a day"))


def _within(phrase: Phrase, step: int, first: Time, end: Time, more: int) -> tuple[str, str]:
    """Return the form of every `step` minutes from `first` to the hour of `end` and `more`, with a note on its end."""
    last = end.hour + more + (24 if end.hour + more < first.hour else 0)
    if step >= 60 and step % 60:
        return f"every {length(step)}", "all day, from now"
    if first.hour == end.hour and first.minute < end.minute and step < 60:
        last = range(first.minute, end.minute + more + 1, step)[-1]
        minute = f"{first.minute}-{last}{f'/{step}' if step > 1 else ''}" if last > first.minute else str(last)
        return f"{minute} {first.hour} {phrase.days_field}", f"until {first.hour}:{last:02}"
    hours = range(first.hour, last + 1, max(1, step // 60))
    minute = str(first.minute) if step >= 60 else f"*/{step}" if step > 1 else "*"
    until = f"{hours[-1] % 24}:{59 // step * step if step < 60 else first.minute:02}"
    note = f"from {first.hour}:00 until {until}" if first.minute and step < 60 else f"until {until}"
    return f"{minute} {_hour_field(hours)} {phrase.days_field}", note


def settle_alternate(phrase: Phrase) -> None:
    """Read `every other hour` and `every third day` as intervals. Raises Refusal if they are not."""
    weekday = phrase.alternate in WEEKDAYS
    size = UNITS.get(phrase.alternate, UNITS["week"])
    if size < 0:
        phrase.calendar_months = -size * phrase.every_nth
        return
    minutes = size * phrase.every_nth
    more = phrase.times or phrase.names_days or phrase.flags - {"every"} or phrase.part_of_day
    if weekday or (more and minutes >= _DAY):
        raise _no_form(phrase, int(minutes))
    phrase.set_once("minutes", minutes)
    phrase.flags.add("every")


def _no_form(phrase: Phrase, minutes: int) -> Refusal:
    """Return the refusal of days that are `minutes` apart at a time of day."""
    time, days = phrase.example_time, minutes // _DAY
    at = f"{time.minute} {time.hour}"
    apart = f"every {minutes // 60}h" if minutes < _WEEK and minutes % 60 == 0 else f"every {length(minutes)}"
    forms: list[Form] = [(apart, "from now")]
    if minutes % _WEEK == 0:
        weekday = phrase.weekday_field if phrase.weekdays else "1"
        forms.append((f"{at} * * {weekday}", "every week"))
        if phrase.alternate in WEEKDAYS and "other" not in phrase.flags and phrase.every_nth <= 5:
            forms.append((f"{at} * * {weekday}#{phrase.every_nth}", f"the {ordinal(phrase.every_nth)} of each month"))
    elif minutes % _DAY == 0:
        forms.append((f"{at} */{days} * *", "from the 1st of each month"))
    return Refusal("has no form: an interval counts from now, and days at a time repeat every week or month", *forms)


def no_calendar_interval(phrase: Phrase, zone: ZoneInfo, now: datetime.datetime) -> Refusal:
    """Return the refusal of an interval or a delay of months or years."""
    assert phrase.calendar_months is not None
    months = phrase.calendar_months
    reason = f"counts {'years' if months and months % 12 == 0 else 'months'}, which are not all equally long"
    local = now.astimezone(zone)
    year, month = divmod(local.year * 12 + local.month - 1 + int(months), 12)
    later = f"{year}-{month + 1:02}-{min(local.day, 28):02} {local:%H:%M}" if year <= MAX_YEAR else ""
    if phrase.delay is not None:
        return Refusal(reason, later)
    if months > 12:
        return Refusal(f"{reason}, and a schedule repeats at least once a year",
                       ("yearly", "every year"), *([(later, "once")] if later else []))
    named = {0: "monthly", 1: "monthly", 3: "quarterly", 12: "yearly"}.get(int(months))
    if months.denominator != 1 or 12 % (int(months) or 1):
        return Refusal(reason, f"every {round(months * 30)}d")
    if named and not (phrase.times or phrase.names_days):
        return Refusal(reason, named)
    time = phrase.times[0] if phrase.times else Time(0)
    day = phrase.month_days[0] if phrase.month_days else "1"
    step = {0: "*", 1: "*", 12: "1"}.get(int(months), f"*/{months}")
    return Refusal(reason, f"{time.minute} {time.hour} {day} {step} *")
