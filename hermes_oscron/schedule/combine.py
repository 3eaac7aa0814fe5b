"""Make one schedule of the parts of a phrase, or refuse it with the nearest forms."""

import datetime
from zoneinfo import ZoneInfo

from . import cron
from .intervals import interval_of, no_calendar_interval, no_window, require_minutes, settle_alternate
from .model import UNIT_MINUTES, Schedule, cron_schedule
from .one_shot import day_of, delayed, is_once, once_forms, once_on
from .phrase import Form, Phrase, Refusal, Time
from .words import DAY_PARTS, MONTH_NAMES, PERIODS, UNITS, WEEKDAYS

_DAY_OF_PERIOD = {"daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter", "yearly": "year"}


def schedule_of(phrase: Phrase, zone: ZoneInfo, now: datetime.datetime) -> tuple[Schedule, list[str]]:
    """Return the schedule that `phrase` means at `now`, times in `zone`, and warnings. Raises Refusal."""
    if phrase.alternate:
        settle_alternate(phrase)
    if phrase.calendar_months is not None:
        raise no_calendar_interval(phrase, zone, now)
    for minutes in (phrase.minutes, phrase.delay):
        if minutes is not None:
            require_minutes(phrase, minutes)
    if phrase.window:
        raise no_window(phrase)
    _settle_part_of_day(phrase)
    if phrase.delay is not None:
        return delayed(phrase, zone, now), []
    if not (phrase.times or phrase.part_of_day or phrase.names_days) and phrase.minutes is None:
        _settle_plain_period(phrase)
    if is_once(phrase):
        return once_on(phrase, day_of(phrase, zone, now), zone, now), []
    if phrase.flags == {"once"} and not phrase.names_days and phrase.minutes is None:
        raise Refusal("has no time", "once at 9:00")
    if "once" in phrase.flags:
        raise Refusal("is once and repeats", *once_forms(phrase))
    if phrase.times and phrase.minutes == UNIT_MINUTES["d"] and not phrase.flags - {"every", "midnight"}:
        return _recurring(phrase)
    if phrase.weekdays and phrase.minutes == UNITS["week"]:
        return _recurring(phrase)
    if phrase.minutes is not None and not ("hourly" in phrase.flags and phrase.minutes == 60):
        return interval_of(phrase)
    return _recurring(phrase)


def _settle_plain_period(phrase: Phrase) -> None:
    """Read `every day` and `every week`, without a time, as intervals."""
    if phrase.flags <= {"every", "day"} or phrase.flags <= {"every", "week"}:
        for word in phrase.flags & {"day", "week"}:
            phrase.minutes = UNITS[word]
            phrase.flags.remove(word)


def _settle_part_of_day(phrase: Phrase) -> None:
    """Give times without am or pm the half of the day that the text names. Raises Refusal if they contradict."""
    if not phrase.part_of_day:
        return
    start, end, _ = DAY_PARTS[phrase.part_of_day]
    late = phrase.part_of_day in ("evening", "night")
    settled = []
    for time in phrase.times:
        hour = time.hour
        if time.either_half and start >= 12 and start - 2 <= hour + 12 < end:
            hour += 12
        elif time.either_half and hour == 12 and phrase.part_of_day == "night":
            hour = 0
            phrase.flags |= {"midnight"}
        if phrase.days_ahead is not None and late and hour == 0:
            phrase.days_ahead += 1  # midnight tonight is the end of today
        elif (phrase.days_ahead is not None and late and hour < 4) or (
                not start - 2 <= hour < end and not (phrase.part_of_day == "night" and hour < 6)):
            other = [phrase.at(time._replace(hour=hour + 12))] if hour < 12 <= start <= hour + 14 else []
            raise Refusal(f"has {time}, which is not in the {phrase.part_of_day}",
                          phrase.at(time._replace(hour=hour)), *other)
        settled.append(time._replace(hour=hour, written_hour=False, either_half=False))
    phrase.times = settled


def _recurring(phrase: Phrase) -> tuple[Schedule, list[str]]:
    """Return the cron schedule of `phrase`. Raises Refusal."""
    _settle_periods(phrase)
    days = " ".join(_day_fields(phrase))
    minute, hour = _time_fields(phrase, days)
    return cron_schedule(f"{minute} {hour} {days}"), _warnings(phrase, days)


def _settle_periods(phrase: Phrase) -> None:
    """Keep the shortest of the periods of `every day of the month`. Raises Refusal if the text repeats in two ways."""
    flags = phrase.flags
    if phrase.weekdays and "every" in flags and " of the month" in phrase.text:
        flags.discard("month")  # every friday of the month
    adverbs = flags & _DAY_OF_PERIOD.keys()
    if len({_DAY_OF_PERIOD[word] for word in adverbs} | (flags & {"week", "month", "quarter", "year"} if adverbs
                                                         else set())) > 1:
        raise Refusal("repeats in two ways", *[
            f"{word} at {phrase.times[0]}" if phrase.times else word for word in sorted(adverbs)])
    hourly = "hourly" in flags or phrase.past_hour is not None
    if hourly and flags & PERIODS.keys() - {"hourly", "daily"} and not phrase.names_days:
        raise Refusal("repeats in two ways", "hourly", *sorted(flags & PERIODS.keys() - {"hourly", "daily"}))
    if not (phrase.month_days or phrase.nth):
        named = [word for word in ("day", "week", "month", "quarter", "year") if word in flags]
        flags.difference_update(named[1:])


def _day_fields(phrase: Phrase) -> tuple[str, str, str]:
    """Return day-of-month, month and day-of-week. Raises Refusal."""
    flags = phrase.flags
    if flags & {"day", "daily"} and phrase.names_days and not _is_day_of_month(phrase):
        time = phrase.example_time
        raise Refusal("names every day and single days", f"daily at {time}", phrase.at(time))
    if phrase.weekdays and (phrase.month_days or phrase.date or flags & {"monthly", "month", "quarterly", "quarter"}):
        day = phrase.month_days[0] if phrase.month_days else str(phrase.date[2]) if phrase.date else "1"
        time = phrase.example_time
        raise Refusal("names days of the week and days of the month, and cron takes either one",
                            f"{time.minute} {time.hour} {day} * *",
                            f"{time.minute} {time.hour} * * {phrase.weekday_field}")
    if phrase.nth and (phrase.weekdays or phrase.month_days or phrase.date):
        raise Refusal("names days of several kinds, which need two jobs", "first monday of the month at 9:00")
    if phrase.date:
        if phrase.date[0] or phrase.months or phrase.month_days:
            raise Refusal("is once and repeats", *once_forms(phrase))
        return str(phrase.date[2]), str(phrase.date[1]), "*"
    if phrase.month_days or phrase.nth:
        months = phrase.months or _months_of_period(phrase)
        if phrase.nth:
            return "*", months, ",".join(f"L{day}" if which == cron.LAST else f"{day}#{which}"
                                         for day, which in sorted(set(phrase.nth)))
        return _month_day_field(phrase), months, "*"
    months = phrase.months or ("1,4,7,10" if flags & {"quarterly", "quarter"} else "*")
    if phrase.months and flags & {"quarterly", "quarter", "yearly", "year"}:
        if flags & {"quarterly", "quarter"}:
            raise Refusal("names months and quarters", "quarterly")
        return "1", months, "*"
    if phrase.weekdays:
        return "*", months, phrase.weekday_field
    if flags & {"month", "monthly", "quarter", "quarterly"}:
        return "1", months, "*"
    if flags & {"year", "yearly"}:
        return "1", "1", "*"
    if flags & {"week", "weekly"}:
        if phrase.times:
            raise Refusal("names no day of the week", f"every monday at {phrase.times[0]}")
        return "*", months, "0"
    return "*", months, "*"


def _months_of_period(phrase: Phrase) -> str:
    """Return the months of `last day of the quarter`. Raises Refusal if the text counts days of a longer period."""
    flags, last = phrase.flags, phrase.month_days == ["L"] or {which for _, which in phrase.nth} == {cron.LAST}
    if flags & {"week", "weekly"}:
        raise Refusal("names a week, or a day of it, by its number", *[
            f"every {day} at {phrase.example_time}" for day in ("monday", "sunday")])
    if flags & {"quarter", "quarterly"}:
        return "3,6,9,12" if last else "1,4,7,10"
    if flags & {"year", "yearly"}:
        if not last and phrase.month_days not in ([], ["1"], ["1W"]):
            raise Refusal("names no month", f"every january {phrase.month_days[0]} at {phrase.example_time}",
                          phrase.at(phrase.example_time))
        return "12" if last else "1"
    return "*"


def _is_day_of_month(phrase: Phrase) -> bool:
    """Return True if `day` is only a word of `every day in june`."""
    return bool(phrase.months) and not (phrase.weekdays or phrase.month_days or phrase.nth or phrase.date)


def _month_day_field(phrase: Phrase) -> str:
    days = sorted(set(phrase.month_days), key=lambda day: int(day) if day.isdigit() else 99)
    if "1W" in days and len(days) > 1:
        raise Refusal("names days of several kinds, which need two jobs", "0 9 1W * *")
    return ",".join(days)


def _time_fields(phrase: Phrase, days: str) -> tuple[str, str]:
    """Return minute and hour. Raises Refusal if there is not a time, or none that one line can have."""
    flags, times = phrase.flags, phrase.times
    if "hourly" in flags or phrase.past_hour is not None:
        if times:
            minute = times[0].hour if times[0].written_hour else times[0].minute
            raise Refusal("has a time and every hour", f"{minute} * {days}",
                          f"{times[0].minute} {times[0].hour} {days}")
        if phrase.part_of_day:
            raise no_window(phrase)
        return str(phrase.past_hour or 0), "*"
    if any(time.second for time in times):
        raise Refusal("has seconds, and a repeating job runs on a whole minute",
                      f"{times[0].minute} {times[0].hour} {days}" if days != "* * *" else
                      f"daily at {times[0].hour}:{times[0].minute:02}")
    plain_days = flags & PERIODS.keys() | flags & {"day"} or phrase.names_days or phrase.minutes is not None
    if not times:
        if not phrase.part_of_day and (flags & PERIODS.keys() or phrase.month_days or phrase.nth or phrase.date):
            return "0", "0"
        raise Refusal("has no time", *_with_time(phrase))
    if not plain_days and times[0].written_hour and "every" in flags:
        count = times[0].hour
        raise Refusal("has a number that may be a time or an interval", f"every {count}m", f"every {count}h",
                      f"daily at {times[0]}")
    if any(time.hour == 24 for time in times):
        raise Refusal("has 24:00, which is 0:00 of the next day", _next_midnight(phrase, days))
    if not plain_days and ("every" not in flags or any(time.written_hour for time in times)):
        raise Refusal("has a time and no day", f"daily at {times[0]}",
                      (f"once at {times[0]}", "today or tomorrow, whichever is next"))
    hours, minutes = {time.hour for time in times}, {time.minute for time in times}
    if len(hours) * len(minutes) != len({time[:2] for time in times}):
        raise Refusal(f"has times that one line of cron cannot have, and needs {len(times)} jobs",
                      *[f"{time.minute} {time.hour} {days}" for time in times], all_of=True)
    return ",".join(map(str, sorted(minutes))), ",".join(map(str, sorted(hours)))


def _next_midnight(phrase: Phrase, days: str) -> str:
    """Return the schedule of the end of the days of `phrase`; if cron cannot have it, of the minute before."""
    if days == "* * *":
        return "daily at 0:00"
    if phrase.weekdays and not phrase.months:
        return f"0 0 * * {','.join(str(day) for day in sorted((day + 1) % 7 for day in phrase.weekday_numbers))}"
    return f"59 23 {days}"


def _with_time(phrase: Phrase) -> list[Form]:
    """Return the text of `phrase` with a time, and the same as fields."""
    text, time = phrase.text.removesuffix(" at").strip(" ,"), phrase.example_time
    if phrase.part_of_day and not phrase.flags and not phrase.names_days:
        text = f"every {phrase.part_of_day}"
    weekly = phrase.flags & {"week", "weekly"} and not phrase.names_days
    return [f"{text} at {time}", *([f"every monday at {time}"] if weekly else [])]


def _warnings(phrase: Phrase, days: str) -> list[str]:
    found = []
    every = phrase.flags & {"every", "weekly", "week"}
    if phrase.single_weekday and phrase.times and len(phrase.weekdays) == 1 and not every:
        name = cron.WEEKDAY_NAMES[WEEKDAYS[phrase.single_weekday]]
        found.append(f"It runs every {name}; once is `next {name.lower()} at {phrase.times[0]}`.")
    if "midnight" in phrase.flags and phrase.weekdays and not phrase.months:
        found.append(f"It runs at 0:00, as the day begins; as it ends is `{_next_midnight(phrase, days)}`.")
    if phrase.months and phrase.times and days.startswith("* ") and days.endswith(" *") and not phrase.flags & {
            "day", "daily"}:
        names = [MONTH_NAMES[month - 1] for month in sorted(cron.parse(f"0 0 {days}").months)]
        found.append(f"It runs on every day of {' and '.join([', '.join(names[:-1]), names[-1]][len(names) < 2:])}; "
                     f"on the 1st alone is `{phrase.times[0].minute} {phrase.times[0].hour} 1 {phrase.months} *`.")
    early = next((time for time in phrase.times if time.written_hour and 1 <= time.hour <= 6), None)
    if early:
        afternoon = Time(early.hour + 12)
        form = f"daily at {afternoon}" if days == "* * *" else f"0 {afternoon.hour} {days}"
        found.append(f"It runs at {early.hour}:00 in the morning; in the afternoon is `{form}`.")
    return found
