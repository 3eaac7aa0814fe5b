"""The text of a job's timer unit.

Everything in it comes from a parsed schedule and a checked id. A job's name is not in it: it may be the beginning of
its prompt, and what systemd knows of a unit, the journal tells.
"""

import datetime
from zoneinfo import ZoneInfo

from ...schedule.model import ONCE, Schedule
from ..protocol import Plan
from .calendar import on_calendar


def render(plan: Plan, machine_zone: ZoneInfo, now: datetime.datetime) -> str:
    """The unit file of PLAN's timer."""
    lines = timer_lines(plan.schedule, plan.zone, machine_zone, now, plan.phase)
    return "\n".join([
        "# Made from jobs.json by hermes-oscron. What is changed here is lost at the next sync.",
        "[Unit]",
        f"Description={plan.instance} (Hermes job)",
        "",
        "[Timer]",
        *lines,
        "",
    ])


def timer_lines(
    schedule: Schedule, zone: ZoneInfo, machine_zone: ZoneInfo, now: datetime.datetime,
    phase: datetime.datetime | None = None,
) -> list[str]:
    """The settings of the [Timer] section (systemd.timer(5)) that fire SCHEDULE."""
    lines = [f"OnCalendar={value}" for value in on_calendar(schedule, zone, machine_zone, now, phase)]
    lines.append("AccuracySec=1us")
    if schedule.kind == ONCE:
        lines.append("RemainAfterElapse=no")
    return lines
