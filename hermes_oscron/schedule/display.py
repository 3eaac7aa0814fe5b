"""Schedule to text that parses back to the same schedule.

For every schedule `s`, `parse_schedule(display_schedule(s)) == s`: clients put the text into their edit form and post
it.
"""

import datetime
import re
from zoneinfo import ZoneInfo

from .cron import WEEKDAY_NAMES
from .model import INTERVAL, ONCE, Schedule
from .occurrences import instants_of


def display_schedule(schedule: Schedule, zone: ZoneInfo) -> str:
    """Return `schedule` for people in `zone`: `Weekdays at 9:00 AM`, `Every 2 hours`, `Once at 2026-03-15 09:00`."""
    if schedule.kind == INTERVAL:
        return _display_interval(schedule.expression)
    if schedule.kind == ONCE:
        return _display_once(schedule.run_at, zone)
    phrase = _display_cron(schedule.expression)
    return phrase or schedule.expression


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
    """Return the phrase for `expression`; None if there is no phrase that parses back to it."""
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
