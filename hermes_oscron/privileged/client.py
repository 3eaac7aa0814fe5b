"""Timers of the system's manager, for an account that is not root: it reads them, and root's helper changes them."""

import datetime
import json
import os
import socket
import time
from collections.abc import Collection
from typing import Any

from ..hermes.home import hermes_root, homes_of
from ..schedulers.protocol import Availability, Changes, Problem, Report, SchedulerError
from ..schedulers.systemd.path_watch import PathWatcher
from ..schedulers.systemd.scheduler import Systemd
from .protocol import ARM, DISARM, IS_LINK, SOCKET_PATH, START, WATCH, Request

ANSWER_TIMEOUT_S = 150.0
"""systemd ends a helper after 120 s."""
MAX_ATTEMPTS = 20
RETRY_INTERVAL_S = 0.25
"""systemd hangs up when too many requests come at once; then the request is repeated."""


class PrivilegedSystemd(Systemd):
    """Fires jobs by timers of the system's manager, which only root's helper may change."""

    def availability(self) -> Availability:
        """Return whether systemd and root's helper are available."""
        supported, reason = super().availability()
        if supported and not os.path.exists(SOCKET_PATH):
            reason = f"{SOCKET_PATH} is missing; as root: systemctl start hermes-oscron-root.socket"
        return Availability(supported, reason)

    def health(self) -> list[Problem]:
        """Return the problems of systemd, and the links that root's helper does not follow. Raises SchedulerError."""
        return [*super().health(), *(Problem(path, f"{path}: {IS_LINK}.") for path in _links(hermes_root()))]

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        """Send `changes` to root's helper, which reads in jobs.json how to arm a job. Raises SchedulerError.

        A job that only stops firing is sent with `arm`, because `disarm` also clears the failed state of its last run.
        """
        removed = sorted({*changes.deleted, *(changes.arm.keys() & set(changes.disarm))})
        updated = sorted({*changes.arm, *changes.disarm} - set(changes.deleted))
        disarmed = _send(Request(DISARM, removed)).disarmed if removed else []
        report = _send(Request(ARM, updated)) if updated else Report([], [], [])
        return Report(report.armed, [*disarmed, *report.disarmed], report.problems)

    def start_service(self, instance: str) -> None:
        """Request root's helper to start the service of `instance`. Raises SchedulerError."""
        _send(Request(START, [instance]))

    def remove_all(self) -> None:
        """Request root's helper to remove the timers of all jobs. Raises SchedulerError."""
        if self.availability().supported:
            _send(Request(DISARM))


class PrivilegedWatcher(PathWatcher):
    """Notices changed jobs by path units of the system's manager."""

    def watch(self, profiles: Collection[str]) -> None:
        """Request root's helper to watch the profiles that it finds. Raises SchedulerError."""
        if self._systemctl.unreachable():
            return
        if problems := _send(Request(WATCH)).problems:
            raise SchedulerError(problems[0].sentence)


def _links(root: str) -> list[str]:
    """Return the links under the Hermes root `root` among the files and folders that root's helper reads."""
    paths = [f"{root}/profiles"]
    for home in homes_of(root):
        paths += [*([home.path] if home.path != root else []), home.cron_dir, home.jobs_file,
                  f"{home.path}/config.yaml", f"{home.path}/.env"]
    return [path for path in paths if os.path.islink(path)]


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
    raise SchedulerError("Root's helper hung up.", "See 'journalctl -u \"hermes-oscron-root@*\"'.")


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
