"""Those who know: systemd-analyze, croniter and cronsim, asked for what a schedule means."""

import datetime
import os
import re
import subprocess
from collections.abc import Sequence
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

UTC = datetime.UTC


def next_elapses(lines: Sequence[str], base: datetime.datetime, count: int,
                 machine_zone: str = "UTC") -> list[list[datetime.datetime]]:
    """The first COUNT elapses later than BASE of each of LINES by itself, as systemd computes them."""
    answer = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}",
         f"--base-time={base.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC", *lines],
        env={**os.environ, "TZ": machine_zone, "LC_ALL": "C"}, capture_output=True, text=True,
    )
    assert answer.returncode == 0, f"{lines}: {answer.stderr}"
    elapses = []
    for block in re.split(r"Normalized form: .*\n", "\n" + answer.stdout)[1:]:
        stamps = re.findall(r"(?:\(in UTC\)|Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", block)
        elapses.append([datetime.datetime.fromisoformat(stamp).replace(tzinfo=UTC) for stamp in stamps])
    assert len(elapses) == len(lines), answer.stdout
    return elapses


def timer_elapses(lines: Sequence[str], base: datetime.datetime, until: datetime.datetime,
                  machine_zone: str = "UTC") -> list[datetime.datetime]:
    """When a timer with LINES fires after BASE: as systemd does it, from one fire to the next over all lines."""
    fires = []
    while True:
        following = [elapses[0] for elapses in next_elapses(lines, base, 1, machine_zone) if elapses]
        if not following or min(following) > until:
            return fires
        base = min(following)
        fires.append(base)


def debian_cron(expression: str, after: datetime.datetime, until: datetime.datetime,
                zone: ZoneInfo) -> list[datetime.datetime]:
    """What cron(8) runs later than AFTER and not later than UNTIL, clock changes included.

    cronsim says it, except for a star in minute or hour where it jumps over half-hour changes and over gaps at
    midnight. There the rule is simple enough to be walked: a job runs in every minute in which the clock shows its
    time.
    """
    if not any(field.startswith("*") for field in expression.split()[:2]):
        due = (due.astimezone(UTC) for due in CronSim(expression, after.astimezone(zone)))
        return list(takewhile(lambda due: due <= until, due))
    fields = CronSim(expression, after)
    walked, minute = [], after.astimezone(UTC).replace(second=0, microsecond=0)
    while (minute := minute + datetime.timedelta(minutes=1)) <= until:
        wall = minute.astimezone(zone)
        if (wall.minute in fields.minutes and wall.hour in fields.hours and wall.month in fields.months
                and fields.match_day(wall.date())):
            walked.append(minute)
    return walked
