"""Explain a schedule before it is used: in words, with its next times, and with what would be armed for it."""

import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ..errors import OscronError
from ..hermes.timezone import machine_zone
from ..schedule.describe import describe
from ..schedule.model import INTERVAL, Schedule
from ..schedule.occurrences import first_occurrences
from ..schedule.parse import read_schedule, refuse_past
from ..schedule.second_opinion import require_agreement
from ..schedulers.crontab.expression import expression_of
from ..schedulers.crontab.scheduler import Crontab
from ..schedulers.foreground import Foreground
from ..schedulers.systemd.unit_file import timer_lines


class Explanation(NamedTuple):
    """A schedule that is accepted: its words, its next times, the `armed` lines, and the `warnings` about it."""

    schedule: Schedule
    words: str
    times: list[datetime.datetime]
    armed: list[str]
    warnings: list[str]


def explain(text: str, zone: ZoneInfo, scheduler: str, now: datetime.datetime, count: int = 5) -> Explanation:
    """Explain the schedule `text` of `zone` for a scheduler of the kind `scheduler`. Raises ScheduleError."""
    schedule, warnings = read_schedule(text, zone, now)
    refuse_past(schedule, now)
    require_agreement(schedule, text, zone, now)
    phase = now + schedule.period if schedule.kind == INTERVAL else None
    return Explanation(schedule, describe(schedule, zone), first_occurrences(schedule, count, now, zone, phase),
                       armed_lines(schedule, zone, scheduler, now, phase), warnings)


def armed_lines(schedule: Schedule, zone: ZoneInfo, scheduler: str, now: datetime.datetime,
                phase: datetime.datetime | None = None) -> list[str]:
    """Return the lines by which a scheduler of the kind `scheduler` fires `schedule`; none for the foreground."""
    if scheduler == Foreground.kind:
        return []
    try:
        if scheduler == Crontab.kind:
            return [expression_of(schedule, zone, machine_zone(), now, phase).fields]
        return [line for line in timer_lines(schedule, zone, machine_zone(), now, phase)
                if line.startswith("OnCalendar=")]
    except OscronError as error:
        return [str(error)]
