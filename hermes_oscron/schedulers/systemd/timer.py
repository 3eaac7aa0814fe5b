"""The text of a job's timer unit.

Everything in it comes from a parsed schedule and a checked id, but for the job's name, which is made harmless first.
"""

import datetime
import unicodedata
from zoneinfo import ZoneInfo

from ...schedule.types import ONCE, Schedule
from ..plan import Plan
from .calendar import on_calendar

LONGEST_NAME = 200


def render(plan: Plan, machine_zone: ZoneInfo, now: datetime.datetime) -> str:
    """The unit file of PLAN's timer."""
    lines = timer_lines(plan.schedule, plan.zone, machine_zone, now, plan.grid)
    return "\n".join([
        "# Made from jobs.json by hermes-oscron. What is changed here is lost at the next sync.",
        "[Unit]",
        f"Description={harmless(plan.name)} (Hermes job)",
        "",
        "[Timer]",
        *lines,
        "",
    ])


def timer_lines(
    schedule: Schedule, zone: ZoneInfo, machine_zone: ZoneInfo, now: datetime.datetime,
    grid: datetime.datetime | None = None,
) -> list[str]:
    """The settings of the [Timer] section (systemd.timer(5)) that fire SCHEDULE."""
    lines = [f"OnCalendar={value}" for value in on_calendar(schedule, zone, machine_zone, now, grid)]
    lines.append("AccuracySec=1us")
    if schedule.kind == ONCE:
        lines.append("RemainAfterElapse=no")
    return lines


def harmless(name: str) -> str:
    """NAME as one line without specifiers: `%` is doubled, what is no printable character becomes a space.

    The caller puts text behind it, so that a backslash at its end continues no line (systemd.syntax(7)).
    """
    printable = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in name[:LONGEST_NAME])
    return " ".join(printable.split()).replace("%", "%%") or "unnamed"
