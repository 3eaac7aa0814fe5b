"""The cost of calendars to systemd: timers of several kinds of schedules, beside as many plain ones.

A machine is booted for each kind. Its process 1 keeps all timers in memory, and at a daemon-reload computes each line;
for a line with a zone it forks a process. The CPU is that of process 1 and its forks, so it hardly depends on what else
the machine does.
"""

import datetime
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from bench.machine import booted, cpu_of_process
from bench.table import Row
from hermes_oscron.schedule.model import INTERVAL, Schedule, cron_schedule
from hermes_oscron.schedulers.protocol import Plan
from hermes_oscron.schedulers.systemd.scheduler import unit_of
from hermes_oscron.schedulers.systemd.unit_file import render
from tests.machine.box import Box

TITLE = "The calendars of 400 timers, in the memory of process 1"
TIMERS = 400
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
    """The lines of a timer, those with a zone, and the cost of all timers at a daemon-reload and in memory."""

    lines: int
    with_zone: int
    reload_s: float
    reload_cpu_s: float
    kib_per_timer: float


def rows() -> Iterator[Row]:
    plain = None
    for kind, (schedule, zone) in KINDS.items():
        cost = measure(schedule, ZoneInfo(zone), TIMERS)
        plain = plain or cost
        ratio = cost.reload_cpu_s / plain.reload_cpu_s
        yield Row(f"`{kind}`: lines of a timer, those with a zone, memory",
                  f"{cost.lines}, {cost.with_zone}, {cost.kib_per_timer:.1f} KiB",
                  f"daemon-reload: {cost.reload_s:.2f} s, {ratio:.1f} times the CPU of the first row's")


def measure(schedule: Schedule, zone: ZoneInfo, count: int) -> Cost:
    """Return the cost of `count` timers of `schedule` on a machine of their own."""
    now = datetime.datetime.now(datetime.UTC)
    with booted() as box:
        units = "/run/systemd/system"
        box.put(f"{units}/hermes-job@.service", SERVICE)
        text = ""
        for number in range(count):
            instance = f"default:{number:012x}"
            text = render(Plan(instance, schedule, zone, now), UTC, now)
            box.put_bytes(f"{units}/{unit_of(instance)}", text.encode())
        before = _resident_kib(box.leader)
        box.run(f"cd {units}; ls hermes-job@*.timer | xargs -n 500 systemctl start --")
        grown = _resident_kib(box.leader) - before
        reloads = [_cost(box, "systemctl daemon-reload") for _ in range(RELOADS)]
        reload_s, reload_cpu_s = map(statistics.median, zip(*reloads, strict=True))
    lines = re.findall("^OnCalendar=(.*)$", text, re.M)
    with_zone = sum(line.endswith(f" {zone.key}") for line in lines) if zone != UTC else 0
    return Cost(len(lines), with_zone, reload_s, reload_cpu_s, grown / count)


def _cost(box: Box, command: str) -> tuple[float, float]:
    """Return the time that `command` takes in `box`, and the CPU time of process 1 and its ended children, in s."""
    begun, used = time.perf_counter(), cpu_of_process(box.leader, children=True)
    box.run(command)
    return time.perf_counter() - begun, cpu_of_process(box.leader, children=True) - used


def _resident_kib(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return int(found[1])
