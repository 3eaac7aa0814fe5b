"""Make a one-shot of the parts of a phrase: a date, a day to come, or a delay."""

import datetime
from zoneinfo import ZoneInfo

from . import cron
from .model import Schedule, once_in_zone
from .occurrences import first_instant_of
from .phrase import Form, Phrase, Refusal, Time, length
from .words import PERIODS

ONE_DAY = datetime.timedelta(days=1)


def delayed(phrase: Phrase, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    """Return the one-shot of `in 2h`, or of `in 2 days at 9:00`."""
    assert phrase.delay is not None
    if phrase.names_days or phrase.flags & PERIODS.keys() or "every" in phrase.flags or phrase.minutes is not None:
        raise Refusal("is once and repeats", f"in {length(phrase.delay)}", f"every {length(phrase.delay)}")
    minutes = int(phrase.delay)
    if not phrase.times:
        return once_in_zone(now + datetime.timedelta(minutes=minutes), zone)
    if minutes % 1440:
        raise Refusal("has a delay and a time", f"in {length(phrase.delay)}", f"once at {phrase.times[0]}")
    return once_on(phrase, now.astimezone(zone).date() + minutes // 1440 * ONE_DAY, zone, now)


def is_once(phrase: Phrase) -> bool:
    if phrase.flags & {"every", "yearly", "year"}:
        return phrase.days_ahead is not None or phrase.coming_weekday is not None
    dated = phrase.date or phrase.days_ahead is not None or phrase.coming_weekday
    return bool(dated or ("once" in phrase.flags and (phrase.times or phrase.weekdays) and phrase.minutes is None))


def day_of(phrase: Phrase, zone: ZoneInfo, now: datetime.datetime) -> datetime.date:
    """Return the day on which the one-shot `phrase` is due. Raises Refusal."""
    repeats = phrase.month_days or phrase.nth or phrase.months or phrase.minutes is not None
    if repeats or phrase.flags - {"once", "midnight"}:
        raise Refusal("is once and repeats", *once_forms(phrase))
    named = [phrase.date, phrase.days_ahead, phrase.coming_weekday]
    if sum(each is not None for each in named) > 1:
        raise Refusal("names two days", *once_forms(phrase))
    today = now.astimezone(zone).date()
    if phrase.date:
        day = _dated(phrase, zone, now)
    elif phrase.days_ahead is not None:
        day = today + phrase.days_ahead * ONE_DAY
    elif phrase.coming_weekday:
        weekday, ahead = phrase.coming_weekday
        day = today + ahead * ONE_DAY
        day += (weekday - day.isoweekday()) % 7 * ONE_DAY
    else:
        days = cron.parse(f"0 0 * * {phrase.weekday_field}").days
        return next(day for day in (today + ahead * ONE_DAY for ahead in range(9))
                    if days.match(day) and (not phrase.times or _instant(day, phrase.times[0], zone) >= now))
    if phrase.weekdays and not cron.parse(f"0 0 * * {phrase.weekday_field}").days.match(day):
        raise Refusal(f"names {day}, which is a {day:%A}", f"{day} {phrase.example_time.padded}")
    return day


def _dated(phrase: Phrase, zone: ZoneInfo, now: datetime.datetime) -> datetime.date:
    """Return the date of `phrase`; without a year, the next one whose time is not past."""
    assert phrase.date
    year, month, day = phrase.date
    this_year = now.astimezone(zone).year
    for candidate in [year] if year else range(this_year, this_year + 9):
        try:
            date = datetime.date(candidate, month, day)
        except ValueError:
            continue
        if year or _instant(date, phrase.example_time, zone) >= now:
            return date
    time = phrase.example_time.padded
    raise Refusal("names a day that does not exist", f"{year}-{day:02}-{month:02} {time}",
                  *[(f"{year}-{month:02}-{last} {time}", "the last day of that month") for last in (30, 29, 28)])


def once_on(phrase: Phrase, day: datetime.date, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    """Return the one-shot at the time of `phrase` on `day`. Raises Refusal if it has not just one time."""
    if phrase.past_hour is not None or len(phrase.times) > 1:
        raise Refusal("has several times of one day, each of which needs a job",
                      *[f"{day} {time.padded}" for time in phrase.times], all_of=True)
    if not phrase.times:
        past = _instant(day, phrase.example_time, zone) <= now
        raise Refusal("has a day and no time", f"{day} {'23:59' if past else phrase.example_time.padded}")
    if phrase.times[0].hour == 24:
        raise Refusal("has 24:00, which is 0:00 of the next day", f"{day + ONE_DAY} 00:00")
    if "midnight" in phrase.flags and not phrase.part_of_day:
        raise Refusal("has a midnight that may begin the day or end it", f"{day} 00:00", f"{day + ONE_DAY} 00:00")
    return once_in_zone(_instant(day, phrase.times[0], zone), zone)


def _instant(day: datetime.date, time: Time, zone: ZoneInfo) -> datetime.datetime:
    midnight = datetime.datetime(day.year, day.month, day.day)
    since = datetime.timedelta(hours=time.hour, minutes=time.minute, seconds=time.second)
    return first_instant_of(midnight + since, zone)


def once_forms(phrase: Phrase) -> list[Form]:
    if phrase.minutes is not None:
        return [f"in {length(phrase.minutes)}", f"every {length(phrase.minutes)}"]
    time = phrase.example_time
    if phrase.weekdays and phrase.days_ahead is None and not phrase.date:
        name = cron.WEEKDAY_NAMES[phrase.weekday_numbers[0]].lower()
        return [f"once on {name} at {time}", f"every {name} at {time}"]
    return [f"tomorrow at {time}", f"daily at {time}"]
