"""The foreground scheduler, for machines without systemd and cron: a thread of `serve` starts jobs when they are due.

It fires only while `serve` runs. It reads jobs.json itself, so arming and disarming write nothing. It sleeps until a
job is due, files change, or the clock is set (`wakeup.py`).
"""

import datetime
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..barrier import use_each
from ..clock import CLOCK, Clock
from ..errors import OscronError, describe
from ..files import StateFileError, make_private_dir, try_lock, wait_for_lock
from ..schedule.occurrences import next_occurrence
from ..state import State
from ..wakeup import Wakeup
from . import spawn
from .plan import without_paused
from .protocol import (
    NO_LIMITS,
    SECOND,
    Availability,
    Changes,
    Drift,
    EndOfStart,
    Limits,
    Plan,
    Problem,
    Report,
    SchedulerError,
)

log = logging.getLogger(__name__)

RETRY_INTERVAL = datetime.timedelta(seconds=0.5)
"""The time between two attempts to read the jobs or to start one, if the first fails."""
LOCK_TIMEOUT_S = 1.0
"""The time for which `serve` waits for the lock: a process that only checks the lock holds it for an instant."""
NOT_SERVED = "No 'hermes-oscron serve --scheduler foreground' runs. Start one."

Plans = Callable[[datetime.datetime], Mapping[str, Plan]]
"""Returns the plans of all jobs at a time, and the same object again while nothing has changed."""
Folders = Callable[[], Iterable[str]]
"""Returns the folders in which a change can change the plans, as `Wakeup.watch` takes them; with none, it is polled."""


class _Upcoming(NamedTuple):
    """The next occurrence of a plan after `since`; `due` is None if there is none."""

    plan: Plan
    since: datetime.datetime
    due: datetime.datetime | None


class Foreground:
    """Fires jobs while some `serve` on this root holds the scheduler's lock."""

    kind = "foreground"
    resolution = SECOND

    def __init__(self, root: str) -> None:
        self._lock_path = State(root).foreground_lock
        self._fires_here = False
        self._upcoming: dict[str, _Upcoming] = {}
        self._runners: dict[str, EndOfStart] = {}

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

    def start(self, instance: str, limits: Limits = NO_LIMITS) -> EndOfStart:
        """Start the runner of `instance`. Raises SchedulerError."""
        end_of_start = self.start_runner(instance)
        if self._fires_here:
            self._runners[instance] = end_of_start
        return end_of_start

    def start_runner(self, instance: str) -> EndOfStart:
        """Start the process of `start`. Raises SchedulerError."""
        return spawn.start_detached(_runner_command(instance), inherit_output=self._fires_here)

    def running(self) -> set[str]:
        """Return the instances whose last runner was started here and lives: it locks its run a moment after that."""
        for instance, end_of_start in list(self._runners.items()):  # other threads start runners too
            if end_of_start() is not None:
                self._runners.pop(instance, None)
        return set(self._runners)

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
    def firing(self, plans: Plans, folders: Folders = tuple, clock: Clock = CLOCK) -> Iterator[None]:
        """Fire `plans` until the block ends. Raises SchedulerError if another process fires here."""
        make_private_dir(os.path.dirname(self._lock_path))
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            wait_for_lock(fd, self._lock_path, LOCK_TIMEOUT_S)
        except StateFileError:
            os.close(fd)
            raise SchedulerError("Another 'hermes-oscron serve' fires the jobs of this home.") from None
        wakeup = Wakeup()
        self._fires_here = True
        thread = threading.Thread(target=self._fire_until, args=(wakeup, plans, folders, clock),
                                  name="foreground-scheduler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            wakeup.end()
            thread.join()
            wakeup.close()
            os.close(fd)

    def _fire_until(self, wakeup: Wakeup, plans: Plans, folders: Folders, clock: Clock) -> None:
        """Start each job when it is due, until `wakeup` is ended."""
        seen = clock.now()
        known: Mapping[str, Plan] = {}
        due = seen
        logged = ""
        while not wakeup.is_set():
            now = clock.now()
            try:
                wakeup.watch(folders())  # before the files are read, so that no later change goes unnoticed
                since = min(seen, now)
                found = plans(since)
                if found is not known or now < seen or due <= now:
                    due = self._fire_due(found, since, now)
                    known = found
                seen, logged = now, ""
            except Exception as error:  # the thread must go on: without it no job would ever fire
                if describe(error) != logged:
                    logged = describe(error)
                    log.error("Nothing fires until this is repaired: %s", logged,
                              exc_info=not isinstance(error, OscronError | OSError))
                wakeup.watch(())  # poll: what fails may write files each time, and some repairs change no folder
                due = now + RETRY_INTERVAL
            clock.wait(wakeup, due)

    def _fire_due(self, plans: Mapping[str, Plan], since: datetime.datetime,
                  now: datetime.datetime) -> datetime.datetime:
        """Start what became due after `since` and not after `now`; return when this must be called next."""
        self._upcoming, _ = use_each(without_paused(plans), lambda plan: self._next_of(plan, since))
        moments = {instance: upcoming.due for instance, upcoming in self._upcoming.items() if upcoming.due}
        for instance in (instance for instance, due in moments.items() if due <= now):
            self.start(instance)
        return min(moments.values(), default=datetime.datetime.max.replace(tzinfo=datetime.UTC))

    def _next_of(self, plan: Plan, since: datetime.datetime) -> _Upcoming:
        """Return the next occurrence of `plan` after `since`, the last one that was computed while it is still that."""
        known = self._upcoming.get(plan.instance)
        if known and known.plan == plan and known.since <= since and (known.due is None or since < known.due):
            return known
        if plan.phase and plan.phase > since:
            return _Upcoming(plan, since, plan.phase)  # an interval is not due before its next run
        return _Upcoming(plan, since, next_occurrence(plan.schedule, since, plan.zone, plan.phase))

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
    """Return the command of the runner of `instance`, which imports nothing from the folder that it is started in."""
    return [sys.executable, "-P", "-m", "hermes_oscron.runner.main", instance]
