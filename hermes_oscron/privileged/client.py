"""Timers of the system's manager, for an account that is not root: it reads them, and root's helper changes them."""

import datetime
import json
import os
import socket
import time
from collections.abc import Collection
from typing import Any

from ..schedulers.plan import without_paused
from ..schedulers.protocol import NO_LIMITS, Availability, Changes, Limits, Problem, Report, SchedulerError
from ..schedulers.systemd.path_watch import PathWatcher, watchable
from ..schedulers.systemd.scheduler import Systemd
from .protocol import ARM, DELETE, DISARM, DISARM_ALL, MAX_ITEMS, SOCKET_PATH, START, WATCH, Request, plan_item

ANSWER_TIMEOUT_S = 150.0
"""The helper ends a request after 120 s."""
MAX_ATTEMPTS = 20
RETRY_INTERVAL_S = 0.25
"""The helper hangs up if it is ended, or if the request arrives too late; then the request is repeated."""


class PrivilegedSystemd(Systemd):
    """Fires jobs by timers of the system's manager, which only root's helper may change."""

    def availability(self) -> Availability:
        """Return whether systemd and root's helper are available."""
        supported, reason = super().availability()
        if supported and not os.path.exists(SOCKET_PATH):
            reason = f"{SOCKET_PATH} is missing; as root: systemctl start hermes-oscron-root.socket"
        return Availability(supported, reason)

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        """Send `changes` to root's helper. Raises SchedulerError."""
        arm = without_paused(changes.arm)
        deleted = set(changes.deleted)
        disarm = {*changes.disarm, *(changes.arm.keys() - arm.keys())} - deleted
        reports = [_send(Request(command, items[start : start + MAX_ITEMS]))
                   for command, items in ((DELETE, sorted(deleted)), (DISARM, sorted(disarm)),
                                          (ARM, [plan_item(arm[instance]) for instance in sorted(arm)]))
                   for start in range(0, len(items), MAX_ITEMS)]
        armed = [instance for report in reports for instance in report.armed]
        disarmed = {instance for report in reports for instance in report.disarmed} - set(armed)
        return Report(armed, sorted(disarmed), [problem for report in reports for problem in report.problems])

    def start_service(self, instance: str, limits: Limits = NO_LIMITS) -> None:
        """Request root's helper to start the service of `instance` with `limits`. Raises SchedulerError."""
        _send(Request(START, [[instance, list(limits)] if limits != NO_LIMITS else instance]))

    def remove_all(self) -> None:
        """Request root's helper to remove the timers of all jobs. Raises SchedulerError."""
        if self.availability().supported:
            _send(Request(DISARM_ALL))


class PrivilegedWatcher(PathWatcher):
    """Notices changed jobs by path units of the system's manager."""

    def watch(self, profiles: Collection[str]) -> None:
        """Request root's helper to watch the jobs of exactly `profiles`. Raises SchedulerError."""
        if not self._systemctl.unreachable():
            _send(Request(WATCH, watchable(profiles)))


def _send(request: Request) -> Report:
    """Return the report of root's helper. Raises SchedulerError with its reason."""
    answer = _exchange(request)
    if "error" in answer:
        raise SchedulerError(str(answer["error"]))
    return Report(answer["armed"], answer["disarmed"], [Problem(*problem) for problem in answer["problems"]])


def _exchange(request: Request) -> dict[str, Any]:
    try:
        for _ in range(MAX_ATTEMPTS):
            if line := _exchange_once(request.line()):
                answer: dict[str, Any] = json.loads(line)
                return answer
            time.sleep(RETRY_INTERVAL_S)
    except (OSError, ValueError) as error:
        raise SchedulerError(f"Root's helper cannot be reached at {SOCKET_PATH}: {error}.",
                             "As root: systemctl restart hermes-oscron-root.socket") from None
    raise SchedulerError("Root's helper hung up.", "See 'journalctl -u hermes-oscron-root'.")


def _exchange_once(line: bytes) -> bytes:
    """Return the helper's answer to `line`; nothing if it hung up."""
    with socket.socket(socket.AF_UNIX) as helper:
        helper.settimeout(ANSWER_TIMEOUT_S)
        helper.connect(SOCKET_PATH)
        try:
            helper.sendall(line)
            helper.shutdown(socket.SHUT_WR)
            parts = []
            while part := helper.recv(65536):
                parts.append(part)
        except ConnectionError:
            return b""
    return b"".join(parts)
