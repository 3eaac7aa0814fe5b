"""Timers of the system's manager for an account that is not root: root's helper changes them, anyone may look."""

import datetime
import json
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from ..plan import Plan, Report, SchedulerError, nothing
from .request import SOCKET, START, STOP, SYNC, Request
from .scheduler import Systemd, instance_of

PATIENCE = 150.0
"""Seconds for an answer; systemd ends a helper that takes longer than 120."""
ATTEMPTS = 20
"""As often is asked again, where so many ask at once that systemd hangs up on one."""


class Delegated(Systemd):
    """Fires jobs by timers of the system's manager, which root's helper alone may change."""

    def unavailable(self) -> str | None:
        """Why no timer can be armed here, or None."""
        if not os.path.exists(SOCKET):
            return f"There is no {SOCKET}; as root: systemctl start hermes-oscron-root.socket"
        return super().unavailable()

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        """Have PLAN's timer started; the helper reads in jobs.json what it is. Raises SchedulerError."""
        refused = _ask(Request(SYNC, [plan.instance])).refused
        if plan.instance in refused:
            raise SchedulerError(refused[plan.instance])

    def disarm(self, instances: Iterable[str]) -> None:
        """Have the timers of INSTANCES taken away. Raises SchedulerError."""
        if here := [instance for instance in instances if self.has(instance)]:
            _ask(Request(STOP, here))

    def forget(self, instance: str) -> None:
        """Have INSTANCE's timer taken away, and its service from the list of failed units. Raises SchedulerError."""
        _ask(Request(STOP, [instance]))

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime,
                  leave: Callable[[str], bool] = nothing) -> Report:
        """Have all timers brought in line with jobs.json, which is what PLANS come from. Raises SchedulerError."""
        known = {instance_of(unit) for unit in self._files() | self._active()} | set(plans)
        return _ask(Request(SYNC, leave=sorted(filter(leave, known))))

    def withdraw(self) -> None:
        """Have all timers of jobs taken away. Raises SchedulerError."""
        if self.possible():
            _ask(Request(STOP))

    def watch(self, profiles: Collection[str]) -> None:
        """The helper sees to that with every sync."""

    def start(self, instance: str) -> None:
        """Have the service of INSTANCE started. Raises SchedulerError."""
        _ask(Request(START, [instance]))


def _ask(request: Request) -> Report:
    """What root's helper has done of REQUEST. Raises SchedulerError with its own words."""
    answer = _answer(request)
    if "error" in answer:
        raise SchedulerError(str(answer["error"]))
    return Report(answer["armed"], answer["disarmed"], answer["refused"], unwatched=answer["armed"])


def _answer(request: Request) -> dict[str, Any]:
    try:
        for _ in range(ATTEMPTS):
            if said := _call(request.line()):
                answer: dict[str, Any] = json.loads(said)
                return answer
            time.sleep(0.25)
    except (OSError, ValueError) as error:
        raise SchedulerError(f"{SOCKET}, by which root's helper is asked, failed: {error}. "
                             f"As root: systemctl restart hermes-oscron-root.socket") from None
    raise SchedulerError("Root's helper hung up; 'journalctl -u \"hermes-oscron-root@*\"' says why.")


def _call(line: bytes) -> bytes:
    """What the helper says to LINE: nothing where it hung up."""
    with socket.socket(socket.AF_UNIX) as helper:
        helper.settimeout(PATIENCE)
        helper.connect(SOCKET)
        try:
            helper.sendall(line)
            helper.shutdown(socket.SHUT_WR)
            parts = []
            while part := helper.recv(65536):
                parts.append(part)
        except ConnectionError:
            return b""
    return b"".join(parts)
