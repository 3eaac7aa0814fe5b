"""Those who know: systemd-analyze, croniter and cronsim, asked for what a schedule means."""

import datetime
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
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


def cronsim(expression: str, after: datetime.datetime, zone: ZoneInfo) -> Iterator[datetime.datetime]:
    """Debian cron's occurrences later than AFTER, clock changes included."""
    for due in CronSim(expression, after.astimezone(zone)):
        yield due.astimezone(UTC)
