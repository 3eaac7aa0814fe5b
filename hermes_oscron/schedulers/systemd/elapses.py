"""The times at which systemd fires a job, as systemd itself computes them: for `doctor --verify`."""

import datetime
import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from ...hermes.timezone import machine_zone
from .scheduler import unit_of
from .systemctl import SYSTEMCTL_TIMEOUT_S, Systemctl


def can_analyze() -> bool:
    """Return True if systemd-analyze(1) is installed."""
    return shutil.which("systemd-analyze") is not None


def calendar_of(systemctl: Systemctl, instance: str) -> list[str]:
    """Return the OnCalendar= lines in the timer file of `instance`; none if it cannot be read."""
    try:
        with open(f"{systemctl.unit_dir}/{unit_of(instance)}", encoding="utf-8", errors="replace") as file:
            return re.findall(r"^OnCalendar=(.+)$", file.read(), re.M)
    except OSError:
        return []


def elapses(calendar: Sequence[str], after: datetime.datetime, count: int) -> list[datetime.datetime]:
    """Return the first `count` times after `after` at which the lines of `calendar` elapse, by systemd-analyze(1).

    They are exact up to the first clock change; the first is always. Returns nothing if systemd-analyze fails, as it
    does for some lines before a gap that a running timer just skips.
    """
    command = ["systemd-analyze", "calendar", f"--iterations={count}",
               f"--base-time={after.astimezone(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC", "--", *calendar]
    environment = {**os.environ, "LC_ALL": "C", "TZ": machine_zone().key}
    try:
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SYSTEMCTL_TIMEOUT_S,
                                stdin=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    # Each elapse is printed in the machine's zone and, if that is another one, on the next line in UTC.
    shown = re.findall(r"(?:\(in UTC\)|Next elapse|Iter\. #\d+): (.*)", answer.stdout)
    return sorted({time for line in shown for time in _shown_times(line)})[:count]


def _shown_times(shown: str) -> list[datetime.datetime]:
    """Return the time that systemd prints as `Fri 2026-11-27 09:00:00 UTC`; nothing for `never` and other zones."""
    return [datetime.datetime.fromisoformat(f"{time}+00:00")
            for time in re.findall(r"^\w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC$", shown)]
