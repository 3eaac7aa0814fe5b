"""The cost of calendars to systemd: timers of several kinds of schedules, beside as many plain ones.

    python -m bench.calendars [TIMERS]    # 400

A machine is booted for each kind. Its process 1 keeps all timers in memory, and at a daemon-reload computes each line;
for a line with a zone it forks a process. The CPU is that of process 1 and its forks, so it hardly depends on what else
the machine does.
"""

import datetime
import re
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from bench.idle import TICKS_PER_S
from hermes_oscron.schedule.model import INTERVAL, Schedule, cron_schedule
from hermes_oscron.schedulers.protocol import Plan
from hermes_oscron.schedulers.systemd.scheduler import unit_of
from hermes_oscron.schedulers.systemd.unit_file import render
from tests.machine.box import Box

UTC = ZoneInfo("UTC")
MANY_DAYS = "0#1,0#4,L0,1#2,1#3,L1,2#1,2#3,3#2,3#5,4#1,4#2,4#4,5#3,L5,6#1,6#5"
"""Weekdays of the month, no two of which have the same weeks."""
KINDS: dict[str, tuple[Schedule, str]] = {
    "0 9 * * *, UTC": (cron_schedule("0 9 * * *"), "UTC"),
    "0 9 * * 1-5, Berlin": (cron_schedule("0 9 * * 1-5"), "Europe/Berlin"),
    "30 2 * * *, Berlin": (cron_schedule("30 2 * * *"), "Europe/Berlin"),
    "0 9 * * 1-5, Kolkata": (cron_schedule("0 9 * * 1-5"), "Asia/Kolkata"),
    "every 50m": (Schedule(INTERVAL, "every 50m"), "UTC"),
    "crafted, Berlin": (cron_schedule(f"*/7 0-5 29W * {MANY_DAYS}"), "Europe/Berlin"),
    "crafted, Casablanca": (cron_schedule(f"*/7 1-3 29W * {MANY_DAYS}"), "Africa/Casablanca"),
}
SERVICE = "[Service]\nType=oneshot\nExecStart=/bin/true\n"
RELOADS = 3


class Cost(NamedTuple):
    """The lines of a timer, those with a zone, and the cost of all timers."""

    lines: int
    with_zone: int
    start_s: float
    start_cpu_s: float
    reload_s: float
    reload_cpu_s: float
    kib_per_timer: float


def main() -> None:
    count = int([*sys.argv[1:], "400"][0])
    print(f"{f'{count} timers':<24}  lines  zones   start s    CPU s  reload s    CPU s  KiB per timer")
    for kind, (schedule, zone) in KINDS.items():
        cost = measure(schedule, ZoneInfo(zone), count)
        print(f"{kind:<24}{cost.lines:>7}{cost.with_zone:>7}{cost.start_s:>10.2f}{cost.start_cpu_s:>9.2f}"
              f"{cost.reload_s:>10.2f}{cost.reload_cpu_s:>9.2f}{cost.kib_per_timer:>15.1f}", flush=True)


def measure(schedule: Schedule, zone: ZoneInfo, count: int) -> Cost:
    """Return the cost of `count` timers of `schedule` on a machine of their own."""
    now = datetime.datetime.now(datetime.UTC)
    box = Box()
    try:
        box.boot()
        units = "/run/systemd/system"
        box.put(f"{units}/hermes-job@.service", SERVICE)
        text = ""
        for number in range(count):
            instance = f"default:{number:012x}"
            text = render(Plan(instance, schedule, zone, now), UTC, now)
            box.put_bytes(f"{units}/{unit_of(instance)}", text.encode())
        before = _resident_kib(box.leader)
        start_s, start_cpu_s = _cost(box, f"cd {units}; ls hermes-job@*.timer | xargs -n 500 systemctl start --")
        grown = _resident_kib(box.leader) - before
        reloads = [_cost(box, "systemctl daemon-reload") for _ in range(RELOADS)]
        reload_s, reload_cpu_s = map(statistics.median, zip(*reloads, strict=True))
    finally:
        box.close()
    lines = re.findall("^OnCalendar=(.*)$", text, re.M)
    with_zone = sum(line.endswith(f" {zone.key}") for line in lines) if zone != UTC else 0
    return Cost(len(lines), with_zone, start_s, start_cpu_s, reload_s, reload_cpu_s, grown / count)


def _cost(box: Box, command: str) -> tuple[float, float]:
    """Return the time that `command` takes in `box`, and the CPU time of process 1 and its ended children, in s."""
    begun, used = time.perf_counter(), _cpu_s(box.leader)
    box.run(command)
    return time.perf_counter() - begun, _cpu_s(box.leader) - used


def _cpu_s(pid: int) -> float:
    """Return the CPU time of `pid` and its ended children: utime, stime, cutime and cstime (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_S


def _resident_kib(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return int(found[1])


if __name__ == "__main__":
    main()
