"""The foreground scheduler, for machines without systemd and cron: a thread of `serve` starts jobs when they are due.

It fires only while `serve` runs. It reads jobs.json itself, so arming and disarming write nothing.
"""

import datetime
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..barrier import use_each
from ..clock import CLOCK, Clock
from ..errors import OscronError, describe
from ..files import StateFileError, make_private_dir, try_lock, wait_for_lock
from ..schedule.occurrences import next_occurrence
from ..state import State
from . import spawn
from .plan import without_paused
from .protocol import SECOND, Availability, Changes, Drift, EndOfStart, Plan, Problem, Report, SchedulerError

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.5
"""The longest time between two looks at the clock and the jobs, and so until a change of the clock is noticed."""
LOCK_TIMEOUT_S = 1.0
"""The time for which `serve` waits for the lock: a process that only checks the lock holds it for an instant."""
NOT_SERVED = "No 'hermes-oscron serve --scheduler foreground' runs. Start one."

Plans = Callable[[datetime.datetime], Mapping[str, Plan]]
"""Returns the plans of all jobs at a time, and the same object again while nothing has changed."""


class Foreground:
    """Fires jobs while some `serve` on this root holds the scheduler's lock."""

    kind = "foreground"
    resolution = SECOND

    def __init__(self, root: str) -> None:
        self._lock_path = State(root).foreground_lock
        self._fires_here = False

    def availability(self) -> Availability:
        """Return whether a `serve` fires the jobs."""
        fires = self._is_locked()
        return Availability(fires, "" if fires else NOT_SERVED)

    def drift(self, plans: Mapping[str, Plan], now: datetime.datetime) -> Drift:
        """Return no difference: the thread reads jobs.json."""
        return Drift({}, {})

    def apply(self, changes: Changes, now: datetime.datetime) -> Report:
        """Do nothing: the thread reads jobs.json."""
        return Report([], [], [])

    def start(self, instance: str) -> EndOfStart:
        """Start the runner of `instance`. Raises SchedulerError."""
        return spawn.start_detached(_runner_command(instance), inherit_output=self._fires_here)

    def running(self) -> set[str]:
        """Return nothing: a runner locks its run a moment after it was started."""
        return set()

    def next_elapses(self, instances: Sequence[str]) -> dict[str, datetime.datetime | None]:
        """Return nothing: the thread computes each time from jobs.json."""
        return {}

    def armed_since(self, instance: str) -> float | None:
        """Return None: the thread reads jobs.json, and no file shows since when a job is in it as it is now."""
        return None

    def health(self) -> list[Problem]:
        """Return nothing: `serve` logs its problems itself."""
        return []

    def remove_all(self) -> None:
        """Do nothing if nothing fires. Raises SchedulerError while a `serve` fires."""
        if self._is_locked():
            raise SchedulerError("A 'hermes-oscron serve --scheduler foreground' fires the jobs; stop it first.")

    @contextmanager
    def firing(self, plans: Plans, clock: Clock = CLOCK) -> Iterator[None]:
        """Fire `plans` until the block ends. Raises SchedulerError if another process fires here."""
        make_private_dir(os.path.dirname(self._lock_path))
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            wait_for_lock(fd, self._lock_path, LOCK_TIMEOUT_S)
        except StateFileError:
            os.close(fd)
            raise SchedulerError("Another 'hermes-oscron serve' fires the jobs of this home.") from None
        ended = threading.Event()
        self._fires_here = True
        thread = threading.Thread(target=self._fire_until, args=(ended, plans, clock), name="foreground-scheduler",
                                  daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            os.close(fd)

    def _fire_until(self, ended: threading.Event, plans: Plans, clock: Clock) -> None:
        """Start each job when it is due, until `ended` is set."""
        seen = clock.now()
        known: Mapping[str, Plan] = {}
        due = seen
        logged = ""
        while not ended.is_set():
            now = clock.now()
            try:
                since = min(seen, now)
                found = plans(since)
                if found is not known or now < seen or due <= now:
                    due = self._fire_due(found, since, now)
                    known = found
                wait_s = min(POLL_INTERVAL_S, max(0.001, (due - now).total_seconds()))
                seen, logged = now, ""
            except Exception as error:  # the thread must go on: without it no job would ever fire
                if describe(error) != logged:
                    logged = describe(error)
                    log.error("Nothing fires until this is repaired: %s", logged,
                              exc_info=not isinstance(error, OscronError | OSError))
                wait_s = POLL_INTERVAL_S
            clock.wait(ended, wait_s)

    def _fire_due(self, plans: Mapping[str, Plan], since: datetime.datetime,
                  now: datetime.datetime) -> datetime.datetime:
        """Start what became due after `since` and not after `now`; return when this must be called next."""
        upcoming, _ = use_each(without_paused(plans),
                               lambda plan: next_occurrence(plan.schedule, since, plan.zone, plan.phase))
        moments = {instance: due for instance, due in upcoming.items() if due}
        for instance in (instance for instance, due in moments.items() if due <= now):
            self.start(instance)
        return min(moments.values(), default=datetime.datetime.max.replace(tzinfo=datetime.UTC))

    def _is_locked(self) -> bool:
        try:
            fd = os.open(self._lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not try_lock(fd, shared=True)
        finally:
            os.close(fd)


def _runner_command(instance: str) -> list[str]:
    return [sys.executable, "-m", "hermes_oscron.runner.main", instance]
