"""The text of a job's timer unit.

Everything in it comes from a parsed schedule and a checked id. A job's name is not in it: it may be the beginning of
its prompt, and systemd writes descriptions of units to the journal.
"""

import datetime
from zoneinfo import ZoneInfo

from ...schedule.model import ONCE, Schedule
from ..protocol import Plan
from .calendar import on_calendar


def render(plan: Plan, machine_zone: ZoneInfo, now: datetime.datetime) -> str:
    """Return the unit file of the timer for `plan`."""
    lines = timer_lines(plan.schedule, plan.zone, machine_zone, now, plan.phase)
    return "\n".join([
        "# Written by hermes-oscron from jobs.json. Changes are lost at the next sync.",
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
    """Return the settings of the [Timer] section (systemd.timer(5)) that fire `schedule`."""
    lines = [f"OnCalendar={value}" for value in on_calendar(schedule, zone, machine_zone, now, phase)]
    lines.append("AccuracySec=1us")
    if schedule.kind == ONCE:
        lines.append("RemainAfterElapse=no")
    return lines
