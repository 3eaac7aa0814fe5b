"""Timers of others as jobs, in the systemd manager that fires the jobs.

A job starts the service of its timer, so all settings of the service hold. Its schedule is that of the timer, as far as
a cron expression or an interval can express it.
"""

import re
import shlex
from typing import Any, NamedTuple

from ..errors import OscronError
from ..files import make_private_dir, write_atomic
from ..hermes.timezone import machine_zone
from ..schedulers.systemd.systemctl import Systemctl
from .field_checks import policy_in_zone
from .job_views import JobView
from .jobs import JobService

PROPERTIES = ("Id", "Unit", "Description", "TimersCalendar", "TimersMonotonic", "RandomizedDelayUSec", "ActiveState")
OWN = re.compile(r"hermes-(job@|oscron)")
CALENDAR, MONOTONIC = re.compile(r"\{ OnCalendar=(.*?) ; "), re.compile(r"\{ On(\w+)USec=(.*?) ; ")
MAXIMUM = {"minute": 59, "hour": 23, "day": 31, "month": 12}
ITEM = re.compile(r"(\*|\d+)(?:\.\.(\d+))?(?:/(\d+))?")
SPAN = re.compile(r"(\d+)(month|w|d|h|min|s)")
SPAN_MINUTES = {"w": 7 * 1440, "d": 1440, "h": 60, "min": 1}


class Timer(NamedTuple):
    """A timer. `why_not` is the reason why no job is made of it."""

    name: str
    service: str
    description: str
    active: bool
    schedule: str = ""
    zone: str = ""
    notes: tuple[str, ...] = ()
    why_not: str = ""


class NoCronExpression(ValueError):
    """A calendar that neither a cron expression nor an interval can express; the reason, as the end of a sentence."""


def timers(here: JobService, manager: Systemctl) -> list[Timer]:
    """Return the timers of `manager` that do not belong to jobs. Raises SchedulerError."""
    listed = manager.call("list-units", "--type=timer", "--all", "--plain", "--no-legend")
    names = [line.split()[0] for line in listed.splitlines() if line.split() and not OWN.match(line.split()[0])]
    if not names:
        return []
    shown = manager.call("show", "-p", ",".join(PROPERTIES), "--", *names)
    return [_timer(here, block.splitlines()) for block in shown.strip("\n").split("\n\n")]


def _timer(here: JobService, lines: list[str]) -> Timer:
    found: dict[str, list[str]] = {name: [] for name in PROPERTIES}
    for line in lines:
        name, _, value = line.partition("=")
        found[name].append(value)
    first = {name: values[0] if values else "" for name, values in found.items()}
    timer = Timer(first["Id"], first["Unit"], first["Description"], first["ActiveState"] == "active")
    delay = first["RandomizedDelayUSec"]
    if delay not in ("", "0"):
        timer = timer._replace(notes=(f"RandomizedDelaySec={delay} is not applied.",))
    try:
        calendars, spans = (pattern.findall("\n".join(found[name])) for pattern, name in (
            (CALENDAR, "TimersCalendar"), (MONOTONIC, "TimersMonotonic")))
        schedule, zone = _schedule(calendars, spans)
        timer = timer._replace(schedule=schedule, zone=zone or machine_zone().key)
        warnings = list[str]()
        here.create(_fields(here, timer), warnings.append, save=False)
    except (NoCronExpression, OscronError) as error:
        return timer._replace(why_not=str(error))
    return timer._replace(notes=(*timer.notes, *warnings))


def _schedule(calendars: list[str], spans: list[Any]) -> tuple[str, str]:
    """Return the schedule of a timer with these settings, and the zone that it names. Raises NoCronExpression."""
    if len(calendars) == 1:
        return cron_of(calendars[0])
    if calendars:
        raise NoCronExpression(f"it has {len(calendars)} calendars: {'; '.join(calendars)}.")
    periods = [span for kind, span in spans if kind in ("UnitActive", "UnitInactive")]
    if len(periods) != 1:
        raise NoCronExpression("it elapses at a start of the machine or of a unit, which is not a time.")
    return f"every {_minutes(periods[0])}m", ""


def _minutes(span: str) -> int:
    parts = SPAN.findall(span)
    if "".join(map("".join, parts)) != span.replace(" ", "") or any(unit not in SPAN_MINUTES for _, unit in parts):
        raise NoCronExpression(f"{span} is not a number of minutes.")
    return sum(int(number) * SPAN_MINUTES[unit] for number, unit in parts)


def cron_of(calendar: str) -> tuple[str, str]:
    """Return the cron expression and the zone of a normalized calendar (systemd.time(7)). Raises NoCronExpression."""
    words = calendar.split()
    weekdays = words.pop(0) if words and words[0][:1].isalpha() else ""
    if len(words) not in (2, 3):
        raise NoCronExpression(f"{calendar} is not a calendar in the normal form.")
    date, time, zone = words[0], words[1], words[2] if len(words) == 3 else ""
    hour, minute, second = time.split(":")
    year, _, rest = date.partition("-")
    if second != "00":
        raise NoCronExpression(f"{calendar} is not at a whole minute.")
    if year != "*":
        raise NoCronExpression(f"{calendar} is not in every year.")
    if "~" in rest:
        month, _, day = rest.partition("~")
        if day != "01":
            raise NoCronExpression(f"{calendar} counts days from the end of the month.")
        day = "L"
    else:
        month, _, day = rest.partition("-")
        day = _field(day, "day")
    if weekdays and day != "*":
        raise NoCronExpression(f"{calendar} needs both a day of the month and one of the week; in cron either holds.")
    return (f"{_field(minute, 'minute')} {_field(hour, 'hour')} {day} {_field(month, 'month')} "
            f"{weekdays.upper().replace('..', '-') or '*'}"), zone


def _field(text: str, name: str) -> str:
    """Return one field of a calendar as that of a cron expression. Raises NoCronExpression."""
    items = []
    for part in text.split(","):
        match = ITEM.fullmatch(part)
        if not match:
            raise NoCronExpression(f"{part} has no counterpart in cron.")
        first, last, step = match.groups()
        first = first if first == "*" else str(int(first))
        if last:
            first = f"{first}-{int(last)}"
        elif step and first != "*":
            first = f"{first}-{MAXIMUM[name]}"
        items.append(f"{first}/{int(step)}" if step else first)
    return ",".join(items)


def carry_out(here: JobService, timer: Timer, manager: Systemctl) -> JobView:
    """Write the script of `timer`, and create its job, paused. Raises the errors of `create`."""
    make_private_dir(here.home.scripts_dir)
    fields = _fields(here, timer)
    write_atomic(f"{here.home.scripts_dir}/{fields['script']}", script(timer, manager.user).encode(), 0o700)
    return here.create(fields)


def script(timer: Timer, is_user: bool) -> str:
    """Return a shell script that starts the service of `timer`, and waits for its end."""
    runtime = 'export XDG_RUNTIME_DIR="/run/user/$(id -u)"\n' if is_user else ""
    return (f"#!/bin/sh\n# The service of {timer.name}; its output is in its own journal.\n{runtime}"
            f"exec systemctl {'--user' if is_user else '--system'} start --wait -- {shlex.quote(timer.service)}\n")


def _fields(here: JobService, timer: Timer) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", timer.name.removesuffix(".timer"))
    return {"schedule": timer.schedule, "name": timer.name.removesuffix(".timer"), "no_agent": True,
            "script": f"timer-{name}.sh", "enabled": False,
            "policy": policy_in_zone(here.root, here.home, timer.zone)}
