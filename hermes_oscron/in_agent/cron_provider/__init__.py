"""The agent's cron provider `oscron`: the operating system fires the jobs, and the agent's own scheduler stands down.

It is copied into the plugins folder of a Hermes home and runs in the agent's own Python, so it imports nothing of ours.
`command.json` beside it says what to run when jobs have changed.
"""

import json
import logging
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from cron.scheduler_provider import CronScheduler

log = logging.getLogger(__name__)

SYNC_TIMEOUT_S = 120.0
"""Seconds after which a sync that has not ended is waited for no longer."""


class Oscron(CronScheduler):  # type: ignore[misc]  # the agent has no types
    """Fires nothing; has what fires put in step when jobs change."""

    @property
    def name(self) -> str:
        return "oscron"

    def is_available(self) -> bool:
        """Whether hermes-oscron is still installed. Where it is not, the agent fires by itself again."""
        command = _command()
        return command is not None and os.access(command["argv"][0], os.X_OK)

    def start(self, stop_event: threading.Event, **_options: Any) -> None:
        """Have one sync made, and return: nothing here waits for a time."""
        _sync.request()

    def on_jobs_changed(self) -> None:
        """Have a sync made, and do not wait for it."""
        _sync.request()


class _Sync:
    """At most one sync at a time, and one more after it where that was asked for meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = self._again = False

    def request(self) -> None:
        """Start a sync, or let the one that runs be followed by another. Never raises."""
        with self._lock:
            if self._running:
                self._again = True
                return
            process = _start_sync()
            self._running = process is not None
        if process:  # no daemon: a command of the agent that ends now waits for the sync that it has asked for
            threading.Thread(target=self._follow, args=(process,), name="oscron-sync").start()

    def _follow(self, process: "subprocess.Popen[bytes]") -> None:
        following: subprocess.Popen[bytes] | None = process
        while following:
            _wait_for_sync(following)
            with self._lock:
                following = _start_sync() if self._again else None
                self._again = False
                self._running = following is not None


_sync = _Sync()


def register(context: Any) -> None:
    """Give the agent its provider."""
    context.register_cron_scheduler(Oscron())


def _command() -> Any:
    try:
        return json.loads((Path(__file__).parent / "command.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        log.warning("oscron: %s; 'hermes-oscron plugin install' writes it anew", error)
        return None


def _start_sync() -> "subprocess.Popen[bytes] | None":
    command = _command()
    if command is None:
        return None
    try:
        return subprocess.Popen(
            command["argv"], env={**os.environ, **command["environment"]}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        log.warning("oscron: the jobs could not be put in step: %s", error)
        return None


def _wait_for_sync(process: "subprocess.Popen[bytes]") -> None:
    try:
        _, said = process.communicate(timeout=SYNC_TIMEOUT_S)
        if process.returncode:
            log.warning("oscron: the jobs could not be put in step: %s", said.decode("utf-8", "replace").strip())
    except subprocess.TimeoutExpired:
        log.warning("oscron: 'hermes-oscron sync' has not ended for %.0f s", SYNC_TIMEOUT_S)
