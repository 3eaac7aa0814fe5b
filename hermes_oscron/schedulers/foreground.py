"""The scheduler for where there is none: a thread of `serve` that sleeps until the next job is due and starts it.

It fires while `serve` runs and not a moment longer. What it should fire is what jobs.json says, read again whenever
that changes, so that arming and disarming leave nothing behind.
"""

import datetime
import fcntl
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from ..barrier import use_each
from ..clock import CLOCK, Clock
from ..hermes.homes import state_dir
from ..hermes.store import StoreError, make_private_dir
from ..schedule.occurrences import next_occurrence
from . import detached
from .plan import Plan, Report, SchedulerError, nothing, to_fire

log = logging.getLogger(__name__)

GLANCE = 0.5
"""Seconds between two looks at the clock and at the jobs: a clock set anew is noticed this late."""


class Foreground:
    """Fires jobs while some `serve` on this root holds the scheduler's lock."""

    kind = "foreground"

    def __init__(self, root: str) -> None:
        self._lock_path = f"{state_dir(root)}/foreground.lock"
        self._fires = self._begun = False

    def possible(self) -> bool:
        """Whether a `serve` fires."""
        return self.unavailable() is None

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

    def fires_at(self, due: datetime.datetime) -> datetime.datetime:
        """At DUE, to the second."""
        return due

    grid = fires_at

    def arm(self, plan: Plan, now: datetime.datetime) -> None:
        """Nothing: the thread reads jobs.json."""

    def disarm(self, instances: Iterable[str]) -> None:
        """Nothing: the thread reads jobs.json."""

    def forget(self, instance: str) -> None:
        """Nothing: the thread reads jobs.json."""

    def reconcile(self, plans: Mapping[str, Plan], now: datetime.datetime,
                  leave: Callable[[str], bool] = nothing) -> Report:
        """Nothing: the thread reads jobs.json. Until it has begun, nobody has seen what fell due."""
        begun, self._begun = self._begun, False
        return Report([], [], {}, unwatched=list(to_fire(plans)) if begun else [])

    def withdraw(self) -> None:
        """Nothing, where nothing is fired. Raises SchedulerError while a `serve` fires."""
        if self.possible():
            raise SchedulerError("A 'hermes-oscron serve --scheduler foreground' fires the jobs; stop it first.")

    def watch(self, profiles: Collection[str]) -> None:
        """Nothing: the thread reads every profile's jobs."""

    def differences(self, plans: Mapping[str, Plan], now: datetime.datetime) -> dict[str, str]:
        """Nothing, while it fires."""
        reason = self.unavailable()
        return dict.fromkeys(to_fire(plans), reason) if reason else {}

    def troubles(self) -> dict[str, str]:
        """None; what it says is in its `serve`'s own output."""
        return {}

    def under_way(self) -> set[str]:
        """None but those that hold their locks."""
        return set()

    def sync_is_pending(self) -> bool:
        """Never: the thread reads jobs.json."""
        return False

    def catch_up(self, instance: str) -> None:
        """Run INSTANCE's job now, if it is due still. Raises SchedulerError."""
        self.run(instance)

    def run(self, instance: str) -> Callable[[], str | None]:
        """Start the runner of `instance`. Raises SchedulerError."""
        return detached.start(_runner(instance), heard=self._fires)

    @contextmanager
    def firing(self, plans: Callable[[datetime.datetime], Mapping[str, Plan]], clock: Clock = CLOCK) -> Iterator[None]:
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
        self._fires = self._begun = True
        ended = threading.Event()
        thread = threading.Thread(target=_fire_until, args=(ended, plans, self.catch_up, clock),
                                  name="foreground-scheduler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            os.close(fd)


def _fire_until(ended: threading.Event, plans: Callable[[datetime.datetime], Mapping[str, Plan]],
                start: Callable[[str], None], clock: Clock) -> None:
    """Start each job when it is due. A job falls due between two glances, and a glance is cut short for it."""
    seen = clock.now()
    trouble = ""
    while not ended.is_set():
        now = clock.now()
        try:
            wait = _fire_due(plans(min(seen, now)), min(seen, now), now, start)
            seen, trouble = now, ""
        except Exception as error:  # whatever it is, the thread goes on: a silent end would be the end of all jobs
            if str(error) != trouble:
                trouble = str(error)
                log.error("Nothing fires until this is mended: %s", trouble,
                          exc_info=not isinstance(error, StoreError | SchedulerError))
            wait = GLANCE
        clock.wait(ended, wait)


def _fire_due(plans: Mapping[str, Plan], since: datetime.datetime, now: datetime.datetime,
              start: Callable[[str], None]) -> float:
    """Start each job of `plans` that fell due after `since` and not after `now`; return the seconds to wait."""
    wait = GLANCE
    following, _ = use_each(to_fire(plans), lambda plan: next_occurrence(plan.schedule, since, plan.zone, plan.grid))
    for instance, due in following.items():
        if due and due <= now:
            start(instance)
        elif due:
            wait = min(wait, (due - now).total_seconds())
    return max(0.001, wait)


def _runner(instance: str) -> list[str]:
    return [sys.executable, "-m", "hermes_oscron.runner.main", instance]
