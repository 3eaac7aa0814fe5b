"""The scheduler for where there is none: a thread of `serve` that sleeps until the next job is due and starts it.

It fires while `serve` runs and not a moment longer. What it should fire is what jobs.json says, read again whenever
that changes, so that arming and disarming leave nothing behind.
"""

import datetime
import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from ..hermes.homes import state_dir
from ..hermes.store import StoreError, make_private_dir
from ..schedule.occurrences import next_occurrence
from .plan import Plan, Report, SchedulerError

log = logging.getLogger(__name__)

GLANCE = 0.5
"""Seconds between two looks at the clock and at the jobs: a clock set anew is noticed this late."""


class Foreground:
    """Fires jobs while some `serve` on this root holds the scheduler's lock."""

    kind = "foreground"

    def __init__(self, root: str) -> None:
        self._lock_path = f"{state_dir(root)}/foreground.lock"
        self._fires = self._begun = False

    def unavailable(self) -> str | None:
        """Why nothing is fired, or None while a `serve` fires."""
        try:
            fd = os.open(self._lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return "No 'hermes-oscron serve --scheduler foreground' runs."
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        finally:
            os.close(fd)
        return "No 'hermes-oscron serve --scheduler foreground' runs."

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        """Nothing: the thread reads jobs.json."""

    def disarm(self, instances: Iterable[str]) -> None:
        """Nothing: the thread reads jobs.json."""

    def forget(self, instance: str) -> None:
        """Nothing: the thread reads jobs.json."""

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime, leave: Collection[str] = ()) -> Report:
        """Nothing: the thread reads jobs.json. Where it has just begun, all PLANS count as newly armed."""
        begun, self._begun = self._begun, False
        return Report(list(plans) if begun else [], [], {})

    def differences(self, plans: Mapping[str, Plan], now: datetime.datetime) -> dict[str, str]:
        """Nothing, while it fires."""
        reason = self.unavailable()
        return dict.fromkeys(plans, reason) if reason else {}

    def troubles(self) -> list[str]:
        """None; what it says is in its `serve`'s own output."""
        return []

    def start(self, instance: str) -> None:
        """Run INSTANCE's job now, in a session of its own. Raises SchedulerError."""
        _start(instance, "manual", heard=self._fires)

    start_again = start

    @contextmanager
    def firing(self, plans: Callable[[datetime.datetime], Mapping[str, Plan]]) -> Iterator[None]:
        """Fire what PLANS(now) says until the block ends. Raises SchedulerError when another process fires here."""
        make_private_dir(os.path.dirname(self._lock_path))
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + 1
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise SchedulerError("Another 'hermes-oscron serve' fires the jobs of this home.") from None
                time.sleep(0.05)
        ended = threading.Event()
        thread = threading.Thread(target=_fire_until, args=(ended, plans), name="foreground-scheduler", daemon=True)
        thread.start()
        self._fires = self._begun = True
        try:
            yield
        finally:
            ended.set()
            thread.join()
            os.close(fd)


def _fire_until(ended: threading.Event, plans: Callable[[datetime.datetime], Mapping[str, Plan]]) -> None:
    """Start each job when it is due. A job falls due between two glances, and a glance is cut short for it."""
    seen = datetime.datetime.now(datetime.UTC)
    trouble = ""
    while not ended.is_set():
        now = datetime.datetime.now(datetime.UTC)
        try:
            wait = _fire_due(plans(min(seen, now)), min(seen, now), now)
            seen, trouble = now, ""
        except Exception as error:  # whatever it is, the thread goes on: a silent end would be the end of all jobs
            if str(error) != trouble:
                trouble = str(error)
                log.error("Nothing fires until this is mended: %s", trouble,
                          exc_info=not isinstance(error, StoreError | SchedulerError))
            wait = GLANCE
        ended.wait(wait)


def _fire_due(plans: Mapping[str, Plan], since: datetime.datetime, now: datetime.datetime) -> float:
    """Start what of PLANS fell due after SINCE and not after NOW; the seconds until the next look."""
    wait = GLANCE
    for plan in plans.values():
        due = next_occurrence(plan.schedule, since, plan.zone, plan.grid)
        if due and due <= now:
            _start(plan.instance, "schedule")
        elif due:
            wait = min(wait, (due - now).total_seconds())
    return max(0.001, wait)


def _start(instance: str, trigger: str, heard: bool = True) -> None:
    """Start hermes-cron-exec for INSTANCE; it outlives us and nobody waits for it.

    What the job says is in its output; where HEARD, it goes to our own output too.
    """
    command = [sys.executable, "-m", "hermes_oscron.runner.main", instance, "--trigger", trigger]
    said = None if heard else subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
    except OSError as error:
        raise SchedulerError(f"{sys.executable} could not be started: {error.strerror}.") from error
    threading.Thread(target=process.wait, daemon=True).start()
