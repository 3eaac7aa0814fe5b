"""Schedules as people write them: text to Schedule and back.

For every schedule s, parse(display(s)) == s: clients put what is displayed into their edit form and post it.
"""

import datetime
import re
from zoneinfo import ZoneInfo

from . import cron
from .errors import ScheduleError
from .occurrences import first_instant_of, instants_of, next_occurrence
from .types import INTERVAL, MINUTES, ONCE, Schedule, cron_schedule, interval, once

FORMS = (
    "Write a cron expression (0 9 * * 1-5), an interval (every 2h, 30m), days and a time (weekdays at 9:30, "
    "every monday 9am), a delay (in 30m) or a time (2026-03-15T09:00)."
)
LAST_YEAR = 2199
"""systemd knows no later one (systemd.time(7), calendar events)."""
GRACE = datetime.timedelta(seconds=120)
"""How far in the past a one-shot may lie; the agent's own ONESHOT_GRACE_SECONDS."""
LONGEST_INTERVAL = 366 * MINUTES["d"]

WEEKDAY_NAMES = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()
_DURATION = r"(?P<count>\d+)?\s*(?P<unit>m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)"
_TIME = r"(?P<time>noon|midnight|\d{1,2}(?::\d{2})?\s*(?:am|pm)?)"


def parse(text: str, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    """The schedule that TEXT means at NOW (aware); times without a zone are in ZONE.

    Raises ScheduleError with a sentence naming what is wrong. A one-shot in the past is still a schedule here;
    `refuse_past` is what keeps it from being made.
    """
    words = " ".join(text.split())
    try:
        return _parse(words, zone, now)
    except OverflowError:
        raise ScheduleError(f"'{_short(words)}' is outside the years a clock can show. {FORMS}") from None


def _parse(words: str, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    lowered = words.lower()
    if not words:
        raise ScheduleError(f"The schedule is empty. {FORMS}")
    if match := re.fullmatch(r"(?:once\s+)?in\s+" + _DURATION, lowered):
        return _once(now + datetime.timedelta(minutes=_minutes(match, words)), zone, words)
    if match := re.fullmatch(r"(?:once\s+(?:at|on)\s+)?(\d{4}-\d{2}-\d{2}(?:[t ].*)?)", lowered):
        return _once(_instant(match[1].upper(), zone, words), zone, words)
    if match := re.fullmatch(r"(?:every\s+)" + _DURATION + r"|(?P<bare>\d+\s*[a-z]+)", lowered):
        return interval(_minutes(match if not match["bare"] else _duration(match["bare"], words), words))
    if match := re.fullmatch(r"(?:every\s+)?(?P<days>[a-z ,&]+?)\s+(?:at\s+)?" + _TIME, lowered):
        return cron_schedule(f"{_clock(match['time'], words)} * * {_weekdays(match['days'], words)}")
    if lowered.startswith("@") or re.match(r"[\d*?]", lowered) or lowered.count(" ") == 4:
        return _cron(words, zone, now)
    raise ScheduleError(f"'{_short(words)}' is not a schedule. {FORMS}")


def refuse_past(schedule: Schedule, now: datetime.datetime) -> None:
    """Raise ScheduleError when SCHEDULE is a one-shot more than 120 s before NOW."""
    if schedule.kind == ONCE and schedule.run_at < now - GRACE:
        raise ScheduleError(
            f"{schedule.expression} is more than {GRACE.seconds} s in the past and would never run. {FORMS}"
        )


def display(schedule: Schedule, zone: ZoneInfo) -> str:
    """SCHEDULE for people in ZONE: `Weekdays at 9:00 AM`, `Every 2 hours`, `Once at 2026-03-15 09:00`."""
    if schedule.kind == INTERVAL:
        return _display_interval(schedule.expression)
    if schedule.kind == ONCE:
        return _display_once(schedule.run_at, zone)
    phrase = _display_cron(schedule.expression)
    return phrase or schedule.expression


def in_zone(run_at: datetime.datetime, zone: ZoneInfo) -> Schedule:
    """A one-shot at RUN_AT, its expression in ZONE's own offset. Raises ScheduleError for a time no clock shows."""
    try:
        local = run_at.astimezone(zone)
    except OverflowError:
        local = run_at
    if not 1 < local.year <= LAST_YEAR:
        raise ScheduleError(f"{run_at.isoformat()} is not in the years up to {LAST_YEAR}.")
    return once(local)


def _cron(words: str, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    try:
        schedule = cron_schedule(cron.canonical(words))
    except ScheduleError as error:
        raise ScheduleError(f"'{_short(words)}' is not a schedule. {error} {FORMS}") from None
    if next_occurrence(schedule, now, zone) is None:
        raise ScheduleError(f"'{words}' never fires: no month has such a day. {FORMS}")
    return schedule


def _duration(text: str, words: str) -> re.Match[str]:
    match = re.fullmatch(_DURATION, text)
    if not match:
        raise ScheduleError(f"'{_short(words)}' is not an interval: the units are m, h, d and w. {FORMS}")
    return match


def _minutes(match: re.Match[str], words: str) -> int:
    digits, unit = match["count"], match["unit"][0]
    count = 1 if digits is None else int(digits) if len(digits) < 9 else LONGEST_INTERVAL + 1
    minutes = count * MINUTES.get(unit, 7 * MINUTES["d"])
    if not 0 < minutes <= LONGEST_INTERVAL:
        raise ScheduleError(f"'{_short(words)}' is not an interval between a minute and a year. {FORMS}")
    return minutes


def _instant(text: str, zone: ZoneInfo, words: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ScheduleError(f"'{_short(words)}' is not a time: {error}. {FORMS}") from None
    if moment.tzinfo is None:
        second = moment.replace(microsecond=0)
        return first_instant_of(second, zone).astimezone(zone) + (moment - second)
    return moment.astimezone(zone)


def _once(run_at: datetime.datetime, zone: ZoneInfo, words: str) -> Schedule:
    try:
        return in_zone(run_at, zone)
    except ScheduleError as error:
        raise ScheduleError(f"'{_short(words)}' is not a schedule. {error} {FORMS}") from None


def _clock(text: str, words: str) -> str:
    """`minute hour` for `9am`, `9:30`, `9:30 PM`, `14:00`, `noon`, `midnight`."""
    text = {"noon": "12:00", "midnight": "0:00"}.get(text, text)
    match = re.fullmatch(r"(\d{1,2})(?::(\d{2}))?\s*(am|pm)?", text)
    assert match
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
    if minute > 59 or hour > 23 or (half and not 1 <= hour <= 12):
        raise ScheduleError(f"'{text}' in '{_short(words)}' is not a time of day. {FORMS}")
    if not half and not match[2] and text.isdigit():
        raise ScheduleError(f"'{text}' in '{_short(words)}' could be morning or evening: write {hour}:00, "
                            f"{hour}am or {hour}pm. {FORMS}")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return f"{minute} {hour}"


def _weekdays(text: str, words: str) -> str:
    """The day-of-week field for `daily`, `weekdays`, `monday and wednesday`, …"""
    known = {"daily": "*", "day": "*", "weekday": "1-5", "weekdays": "1-5", "weekend": "0,6", "weekends": "0,6"}
    if text in known:
        return known[text]
    numbers = set()
    for word in re.split(r"(?:\s*(?:,|&|\band\b)\s*)+|\s+", text):
        number = next((i for i, name in enumerate(cron.WEEKDAYS)
                       if word in {name, name + "s", WEEKDAY_NAMES[i].lower(), WEEKDAY_NAMES[i].lower() + "s"}), None)
        if number is None:
            raise ScheduleError(f"'{word}' in '{_short(words)}' is not a day of the week. {FORMS}")
        numbers.add(number)
    return ",".join(str(number) for number in sorted(numbers))


def _display_interval(expression: str) -> str:
    count, unit = expression.removeprefix("every ")[:-1], expression[-1]
    name = {"m": "minute", "h": "hour", "d": "day"}[unit]
    return f"Every {name}" if count == "1" else f"Every {count} {name}s"


def _display_once(run_at: datetime.datetime, zone: ZoneInfo) -> str:
    local = run_at.astimezone(zone)
    wall = local.replace(tzinfo=None)
    shown = wall.isoformat(" ", "seconds" if wall.second else "minutes")
    if instants_of(wall, zone)[0] != run_at:  # the second of two such times
        shown += local.isoformat()[19:]
    return f"Once at {shown}"


def _display_cron(expression: str) -> str | None:
    """The phrase for EXPRESSION, where there is one that parses back to it."""
    minute, hour, day, month, weekday = expression.split(" ")
    if not (minute.isdigit() and hour.isdigit() and day == month == "*"):
        return None
    clock = datetime.time(int(hour), int(minute))
    time = f"{clock.hour % 12 or 12}:{clock:%M %p}"
    if weekday in (spans := {"*": "Daily", "1-5": "Weekdays", "0,6": "Weekends"}):
        return f"{spans[weekday]} at {time}"
    if not re.fullmatch(r"[0-6](,[0-6])*", weekday):
        return None
    names = [WEEKDAY_NAMES[int(number)] for number in weekday.split(",")]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"Every {listed} at {time}"


def _short(words: str) -> str:
    return words if len(words) <= 80 else words[:79] + "…"
