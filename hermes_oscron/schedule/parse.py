"""Parse the schedules that people write. `display_schedule` is the inverse."""

import datetime
import re
from zoneinfo import ZoneInfo

from ..errors import shortened
from . import cron
from .cron import WEEKDAY_NAMES
from .model import ONCE, UNIT_MINUTES, Schedule, ScheduleError, cron_schedule, interval, once_in_zone
from .occurrences import first_instant_of, next_occurrence

SYNTAX_HELP = (
    "Write a cron expression (0 9 * * 1-5), an interval (every 2h, 30m), days and a time (weekdays at 9:30, "
    "every monday 9am), a delay (in 30m) or a time (2026-03-15T09:00)."
)
ONESHOT_GRACE = datetime.timedelta(seconds=120)
"""A one-shot may lie this far in the past; the agent's own ONESHOT_GRACE_SECONDS."""
MAX_INTERVAL_MINUTES = 366 * UNIT_MINUTES["d"]

_DURATION = r"(?P<count>\d+)?\s*(?P<unit>m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)"
_TIME = r"(?P<time>noon|midnight|\d{1,2}(?::\d{2})?\s*(?:am|pm)?)"


def parse_schedule(text: str, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    """Return the schedule that `text` means at `now` (aware); times without a zone are in `zone`.

    Raises ScheduleError with a sentence. A one-shot in the past is still a schedule here; `refuse_past` prevents it
    from being created.
    """
    words = " ".join(text.split())
    try:
        return _parse(words, zone, now)
    except ScheduleError as error:
        reason = str(error)
    except OverflowError:
        reason = f"'{shortened(words)}' is outside the years a clock can show."
    raise ScheduleError(f"{reason} {SYNTAX_HELP}")


def _parse(words: str, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    lowered = words.lower()
    if not words:
        raise ScheduleError("The schedule is empty.")
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
    raise ScheduleError(f"'{shortened(words)}' is not a schedule.")


def refuse_past(schedule: Schedule, now: datetime.datetime) -> None:
    """Raise ScheduleError if `schedule` is a one-shot more than 120 s before `now`."""
    if schedule.kind == ONCE and schedule.run_at < now - ONESHOT_GRACE:
        raise ScheduleError(
            f"{schedule.expression} is more than {ONESHOT_GRACE.seconds} s in the past and would never run. "
            f"{SYNTAX_HELP}"
        )


def _cron(words: str, zone: ZoneInfo, now: datetime.datetime) -> Schedule:
    try:
        schedule = cron_schedule(cron.canonical(words))
    except ScheduleError as error:
        raise ScheduleError(f"'{shortened(words)}' is not a schedule. {error}") from None
    if next_occurrence(schedule, now, zone) is None:
        raise ScheduleError(f"'{words}' never fires: no month has such a day.")
    return schedule


def _duration(text: str, words: str) -> re.Match[str]:
    match = re.fullmatch(_DURATION, text)
    if not match:
        raise ScheduleError(f"'{shortened(words)}' is not an interval: the units are m, h, d and w.")
    return match


def _minutes(match: re.Match[str], words: str) -> int:
    digits, unit = match["count"], match["unit"][0]
    count = 1 if digits is None else int(digits) if len(digits) < 9 else MAX_INTERVAL_MINUTES + 1
    minutes = count * UNIT_MINUTES.get(unit, 7 * UNIT_MINUTES["d"])
    if not 0 < minutes <= MAX_INTERVAL_MINUTES:
        raise ScheduleError(f"'{shortened(words)}' is not an interval between a minute and a year.")
    return minutes


def _instant(text: str, zone: ZoneInfo, words: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ScheduleError(f"'{shortened(words)}' is not a time: {error}.") from None
    if moment.tzinfo is None:
        second = moment.replace(microsecond=0)
        return first_instant_of(second, zone).astimezone(zone) + (moment - second)
    return moment.astimezone(zone)


def _once(run_at: datetime.datetime, zone: ZoneInfo, words: str) -> Schedule:
    try:
        return once_in_zone(run_at, zone)
    except ScheduleError as error:
        raise ScheduleError(f"'{shortened(words)}' is not a schedule. {error}") from None


def _clock(text: str, words: str) -> str:
    """Return `minute hour` for `9am`, `9:30`, `9:30 PM`, `14:00`, `noon`, `midnight`. Raises ScheduleError."""
    text = {"noon": "12:00", "midnight": "0:00"}.get(text, text)
    match = re.fullmatch(r"(\d{1,2})(?::(\d{2}))?\s*(am|pm)?", text)
    assert match
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
    if minute > 59 or hour > 23 or (half and not 1 <= hour <= 12):
        raise ScheduleError(f"'{text}' in '{shortened(words)}' is not a time of day.")
    if not half and not match[2] and text.isdigit():
        raise ScheduleError(f"'{text}' in '{shortened(words)}' could be morning or evening: write {hour}:00, "
                            f"{hour}am or {hour}pm.")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return f"{minute} {hour}"


def _weekdays(text: str, words: str) -> str:
    """Return the day-of-week field for `daily`, `weekdays`, `monday and wednesday`, … Raises ScheduleError."""
    known = {"daily": "*", "day": "*", "weekday": "1-5", "weekdays": "1-5", "weekend": "0,6", "weekends": "0,6"}
    if text in known:
        return known[text]
    numbers = set()
    for word in re.split(r"(?:\s*(?:,|&|\band\b)\s*)+|\s+", text):
        number = next((i for i, name in enumerate(cron.WEEKDAYS)
                       if word in {name, name + "s", WEEKDAY_NAMES[i].lower(), WEEKDAY_NAMES[i].lower() + "s"}), None)
        if number is None:
            raise ScheduleError(f"'{word}' in '{shortened(words)}' is not a day of the week.")
        numbers.add(number)
    return ",".join(str(number) for number in sorted(numbers))
