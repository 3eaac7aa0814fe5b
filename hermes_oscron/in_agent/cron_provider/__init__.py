"""The agent's cron provider `oscron`: the operating system fires the jobs, and the agent's own scheduler does not.

It is copied into the plugins folder of a Hermes home and runs in the agent's own Python, so it imports nothing of
hermes-oscron. `command.json` beside it has the command to run when jobs have changed.
"""

import json
import logging
import os
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

from hermes_constants import get_hermes_home

try:
    # A gateway with several profiles replaces any provider but the agent's own scheduler and its subclasses
    # (scheduler_for_profile_mode). Its check for missed runs also passes over them.
    from cron.scheduler_provider import InProcessCronScheduler as CronScheduler
except ImportError:
    from cron.scheduler_provider import CronScheduler

log = logging.getLogger(__name__)

SYNC_TIMEOUT_S = 120.0
"""A sync that takes longer is not waited for any longer."""
REGISTER_TIMEOUT_S = 30.0
"""The time for which the creation of a job waits for it to be armed."""


class Oscron(CronScheduler):  # type: ignore[misc]  # the agent has no types
    """A scheduler that fires nothing, and requests a sync when jobs change."""

    @property
    def name(self) -> str:
        return "oscron"

    def is_available(self) -> bool:
        """Return True if hermes-oscron is still installed; if not, the agent fires by itself again."""
        command = _command()
        return command is not None and os.access(command["argv"][0], os.X_OK)

    def start(self, stop_event: threading.Event, **_options: Any) -> None:
        """Request one sync, of every profile, and wait for `stop_event`: the gateway may restart a thread that ends."""
        _sync.request()
        stop_event.wait()

    def on_jobs_changed(self) -> None:
        """Request a sync, and do not wait for it."""
        _sync.request()

    def register_job(self, job: dict[str, Any]) -> None:
        """Arm the new `job`. Raises RuntimeError if it is not armed: the agent then reports that it was only saved."""
        process = _start_sync()
        if process is None:
            raise RuntimeError("the sync could not be started; the agent's log has the reason")
        try:
            _, said = process.communicate(timeout=REGISTER_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            threading.Thread(target=_wait_for_sync, args=(process,), name="oscron-sync").start()
            raise RuntimeError(f"the sync has not ended for {REGISTER_TIMEOUT_S:.0f} s, and goes on") from None
        text = said.decode("utf-8", "replace").strip()
        if process.returncode and any(_concerns(job["id"], line) for line in text.splitlines() or [""]):
            raise RuntimeError(f"the sync failed: {text or process.returncode}")


class _Sync:
    """The sync, which runs at most once at a time, and again after that if it was requested while it ran."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = self._again = False

    def request(self) -> None:
        """Start a sync, or make another one follow the one that runs. Never raises."""
        with self._lock:
            if self._running:
                self._again = True
                return
            process = _start_sync()
            self._running = process is not None
        # not a daemon thread: a command of the agent that ends now must wait for the sync that it requested
        if process:
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
    """Register the provider with the agent."""
    context.register_cron_scheduler(Oscron())


def _command() -> Any:
    try:
        return json.loads((Path(__file__).parent / "command.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        log.warning("oscron: %s; 'hermes-oscron plugin install' writes it again", error)
        return None


def _concerns(job_id: str, line: str) -> bool:
    """Return False if `line`, an error of a sync, is about another job or another profile."""
    subject = re.match(r"Error: ([\w.-]+)(?::([\w.-]+))?: ", line)
    if subject is None:
        return True
    profile, other_id = subject.groups()
    if other_id:
        return other_id == job_id
    home = get_hermes_home()
    own_profile, root = (home.name, home.parents[1]) if home.parent.name == "profiles" else ("default", home)
    return profile == own_profile or not (profile == "default" or (root / "profiles" / profile).is_dir())


def _start_sync() -> "subprocess.Popen[bytes] | None":
    command = _command()
    if command is None:
        return None
    try:
        return subprocess.Popen(
            command["argv"], env={**os.environ, **command["environment"]}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        log.warning("oscron: the sync could not be started: %s", error)
        return None


def _wait_for_sync(process: "subprocess.Popen[bytes]") -> None:
    try:
        _, said = process.communicate(timeout=SYNC_TIMEOUT_S)
        if process.returncode:
            log.warning("oscron: the sync failed: %s", said.decode("utf-8", "replace").strip())
    except subprocess.TimeoutExpired:
        log.warning("oscron: 'hermes-oscron sync' has not ended for %.0f s", SYNC_TIMEOUT_S)
