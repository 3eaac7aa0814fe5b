"""The units of the installation that do not work."""

import re
import time
from collections.abc import Mapping

from ...hermes.home import hermes_root
from ...install.sandbox import NESTING
from ..active import last_sync
from ..protocol import Problem
from .path_watch import SYNC_SERVICE
from .systemctl import Systemctl

KILLED = ("signal", "core-dump", "oom-kill")
"""Values of a service's Result= (systemd.service(5)) after which the next start may well succeed."""

SERVICE = re.compile(r"hermes-job@(?P<instance>\S+)\.service")
REINSTALL = "'./install.sh' repairs the installation."
START_FAILURES = {
    200: ("CHDIR", "Its WorkingDirectory= is missing or closed to the account."),
    203: ("EXEC", REINSTALL),
    216: ("GROUP", REINSTALL),
    217: ("USER", REINSTALL),
    218: ("CAPABILITIES", "A drop-in of its service asks for more than this machine or container allows."),
    224: ("PAM", "The account may be locked or expired: 'chage -l ACCOUNT' shows it."),
    226: ("NAMESPACE", f"This machine does not allow the sandbox of its service. {NESTING}."),
    228: ("SECCOMP", "This machine does not allow the sandbox of its service."),
}
"""The exit statuses of a service that systemd could not start (systemd.exec(5)). The runner has others."""


def unit_problems(systemctl: Systemctl) -> list[Problem]:
    """Return the failed units of the installation that need attention. Raises SchedulerError.

    When a killed service is triggered next, systemd starts it again; it does not do that for a failed socket, path or
    timer. In a system installation the account may not reset a failed unit, so the unit stays failed even after the
    account's own sync has succeeded.
    """
    listed = systemctl.call("list-units", "--failed", "--plain", "--no-legend", "--full", "hermes-oscron*")
    failed = [line.split()[0] for line in listed.splitlines() if line]
    return [Problem(unit, _sentence(systemctl, unit)) for unit in failed if _is_broken(systemctl, unit)]


def start_failures(systemctl: Systemctl) -> list[Problem]:
    """Return the jobs whose service systemd could not start, with the reason. Raises SchedulerError."""
    listed = systemctl.call("list-units", "--failed", "--plain", "--no-legend", "--full", "hermes-job@*.service")
    failed = {match["instance"]: line.split()[0] for line in listed.splitlines() if (match := SERVICE.match(line))}
    shown = systemctl.properties(list(failed.values()), ("Result", "ExecMainStatus")) if failed else {}
    found = []
    for instance, unit in failed.items():
        if reason := _start_failure(shown[unit]):
            found.append(Problem(instance, f"systemd could not start its last run {reason}"))
    return found


def _start_failure(shown: Mapping[str, str]) -> str | None:
    """Return why systemd could not start the service with the properties `shown`; None if it could."""
    status = int(shown.get("ExecMainStatus") or 0)
    if status not in START_FAILURES or shown.get("Result") != "exit-code":
        return None
    name, remedy = START_FAILURES[status]
    return f"({status}/{name}). {remedy}"


def _sentence(systemctl: Systemctl, unit: str) -> str:
    if reason := _start_failure(systemctl.properties([unit], ("Result", "ExecMainStatus"))[unit]):
        return f"systemd could not start {unit} {reason}"
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
