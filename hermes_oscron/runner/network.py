"""The wait for the network of a run that was missed while the machine was off or asleep.

systemd starts such runs at boot and on resume, mostly before the machine has an address (systemd#40339). A default
route is taken for the network: it is known without asking any other machine.
"""

import contextlib
import os
import time

from ..config import Config
from ..jobs.record import Record
from .log import log, subject

DEFAULT_WAIT_S = 90.0
WAKE_WINDOW_S = 300.0
"""No run waits later than this after a boot or a resume, so that a machine without a network is not slow for good."""
POLL_INTERVAL_S = 0.5
SYSTEMCTL_TIMEOUT_S = 20.0
"""Process 1 is busy after a boot."""
BOOTED = "/run/systemd/system"
"""systemd runs if this folder exists (sd_booted(3))."""
SLEEP_UNITS = ("systemd-suspend.service", "systemd-hibernate.service", "systemd-hybrid-sleep.service",
               "systemd-suspend-then-hibernate.service")
RTF_UP, RTF_REJECT = 0x0001, 0x0200
"""Flags of a route (linux/route.h)."""


def wait_if_woken(record: Record, late_s: float, settings: Config) -> bool:
    """Wait for a default route if the job of `record`, which is `late_s` late, was missed before a boot or a resume.

    Returns True if it has waited. A script waits only if `exec.network_wait` is set, since it may need no network.
    """
    default_s = 0.0 if record.get("no_agent") else DEFAULT_WAIT_S
    wait_s = default_s if settings.network_wait is None else settings.network_wait
    if wait_s <= 0 or has_default_route():
        return False
    awake_s = awake_for_s()
    if awake_s > min(WAKE_WINDOW_S, late_s):
        return False
    log(f"{subject(record)}: missed while the machine was off or asleep; waits up to {wait_s:g} s for the network, "
        f"since there is no default route")
    begun = time.monotonic()
    while not has_default_route():
        if time.monotonic() - begun >= wait_s:
            log(f"{subject(record)}: no network after {wait_s:g} s; runs without it")
            return True
        time.sleep(min(POLL_INTERVAL_S, wait_s))
    log(f"{subject(record)}: the network is there after {time.monotonic() - begun:.1f} s")
    return True


def has_default_route() -> bool:
    """Return True if there is a default route of IPv4 or IPv6, or if the kernel does not show its routes (proc(5))."""
    try:
        with open("/proc/net/route", encoding="ascii") as file:
            routes = [line.split() for line in file.readlines()[1:]]
    except OSError:
        return True
    if any(route[1] == route[7] == "0" * 8 and _is_usable(route[3]) for route in routes):
        return True
    with contextlib.suppress(OSError), open("/proc/net/ipv6_route", encoding="ascii") as file:
        routes = [line.split() for line in file]
        return any(route[:2] == ["0" * 32, "00"] and route[9] != "lo" and _is_usable(route[8]) for route in routes)
    return False


def awake_for_s() -> float:
    """Return the seconds since the last boot or resume; the resume only if systemd runs."""
    awake_s, now = time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()
    if not os.path.isdir(BOOTED):
        return awake_s
    import subprocess  # 17 ms, which only a run without a route needs to pay

    command = ["systemctl", "show", "-p", "ActiveState", "-p", "ActiveEnterTimestampMonotonic",
               "-p", "InactiveEnterTimestampMonotonic", "basic.target", *SLEEP_UNITS]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_TIMEOUT_S).stdout
    except (OSError, subprocess.SubprocessError):
        return awake_s
    if "ActiveState=activating" in shown:  # the machine has just woken, and the service has not ended yet
        return 0.0
    times_us = [int(value) for _, _, value in (line.partition("Monotonic=") for line in shown.splitlines())
                if value.isdecimal() and value != "0"]
    return min([awake_s, *(now - time_us / 1e6 for time_us in times_us)])


def _is_usable(flags: str) -> bool:
    return int(flags, 16) & (RTF_UP | RTF_REJECT) == RTF_UP
