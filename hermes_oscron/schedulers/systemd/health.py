"""The units of the installation that do not work."""

import time

from ...hermes.home import hermes_root
from ..active import last_sync
from ..protocol import Problem
from .path_watch import SYNC_SERVICE
from .systemctl import Systemctl

KILLED = ("signal", "core-dump", "oom-kill")
"""Values of a service's Result= (systemd.service(5)) after which the next start may well succeed."""


def unit_problems(systemctl: Systemctl) -> list[Problem]:
    """Return the failed units of the installation that need attention. Raises SchedulerError.

    When a killed service is triggered next, systemd starts it again; it does not do that for a failed socket, path or
    timer. In a system installation the account may not reset a failed unit, so the unit stays failed even after the
    account's own sync has succeeded.
    """
    listed = systemctl.call("list-units", "--failed", "--plain", "--no-legend", "--full", "hermes-oscron*")
    failed = [line.split()[0] for line in listed.splitlines() if line]
    return [Problem(unit, _sentence(systemctl, unit)) for unit in failed if _is_broken(systemctl, unit)]


def _sentence(systemctl: Systemctl, unit: str) -> str:
    if unit == SYNC_SERVICE:
        return f"{unit} has failed, and no sync has succeeded since. Run 'hermes-oscron sync' to see why."
    command = f"systemctl {'--user' if systemctl.user else '--system'}"
    return (f"{unit} failed when it was last started. See '{command} status {unit}' for the reason; '{command} restart "
            f"{unit}' starts it again.")


def _is_broken(systemctl: Systemctl, unit: str) -> bool:
    if not unit.endswith(".service"):
        return True
    state = systemctl.properties([unit], ("ActiveState", "Result", "StateChangeTimestampMonotonic"))[unit]
    if state["ActiveState"] != "failed" or state.get("Result") in KILLED:
        return False
    if unit == SYNC_SERVICE:
        failed_for_s = time.clock_gettime(time.CLOCK_MONOTONIC) - int(state["StateChangeTimestampMonotonic"]) / 1e6
        return last_sync(hermes_root()) < time.time() - failed_for_s
    return True
