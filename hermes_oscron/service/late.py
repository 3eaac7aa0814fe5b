"""Jobs that were due and have not started."""

import datetime
from collections.abc import Set

from ..barrier import use_each
from ..hermes import claims, job_store
from ..hermes.emergency_stop import paused
from ..hermes.home import Home
from ..jobs.due import ceil_to
from ..jobs.model import Job
from ..jobs.record import hold_of, is_used_up
from ..runs import interrupted, lock, requests

GRACE = datetime.timedelta(seconds=5)
"""A job that is due for longer than this, and does not run, was not started."""
RESTART_INTERVAL = datetime.timedelta(seconds=requests.RETRY_INTERVAL_S)
"""The shortest time between two starts of a job whose runner ends before its run begins."""
NEVER = datetime.datetime.max.replace(tzinfo=datetime.UTC)


class Restarts:
    """The times at which the foreground, which has no regular sync, starts jobs that were due and have not started.

    The first is GRACE after that was noticed: what has ended the runner may be about to end the server too.
    """

    def __init__(self) -> None:
        self._times: dict[str, datetime.datetime] = {}
        self._held = frozenset[str]()

    def take(self, unstarted: Set[str], held: Set[str], now: datetime.datetime,
             at_once: Set[str] = frozenset()) -> set[str]:
        """Return those of the `unstarted` instances to start at `now`. The `held` ones start as soon as they may."""
        latest = now + RESTART_INTERVAL
        due = {instance for instance in unstarted
               if instance in self._held or self._times.get(instance, latest) <= now} | (at_once & unstarted)
        waiting = {instance: min(time, latest)  # the clock may have been set back
                   for instance, time in self._times.items() if time > now}
        self._times = {**dict.fromkeys(unstarted, now + GRACE), **waiting, **dict.fromkeys(due, latest)}
        self._held = frozenset(held)
        return due

    @property
    def next(self) -> datetime.datetime:
        """The time at which `take` is to be called again."""
        return min(self._times.values(), default=NEVER)


def due_at(job: Job, resolution: datetime.timedelta) -> datetime.datetime | None:
    """Return when a scheduler with `resolution` starts, or should have started, `job`; None if it is not scheduled.

    The agent requests a run at once by a `next_run_at` of that very moment, to the microsecond (`trigger_job`). So are
    its intervals, and the end of a hold, which is armed all the same. Other occurrences are on whole seconds.
    """
    due = job.next_run_at
    if due is None or not job.is_scheduled or is_used_up(job.record):
        return None
    return due if due.microsecond and not hold_of(job.record) else ceil_to(due, resolution)


def due_since(home: Home, job: Job, now: datetime.datetime,
              resolution: datetime.timedelta) -> datetime.datetime | None:
    """Return since when `job` is due, if it is and does not run, else None."""
    due = due_at(job, resolution)
    return None if due is None or now < due or claims.holder(job.record, now) or lock.find(home, job.id) else due


def unstarted(home: Home, now: datetime.datetime, resolution: datetime.timedelta) -> set[str]:
    """Return the instances of `home` that are due at `now` and do not run. Raises StateFileError."""
    jobs = {job.instance: job for job in interrupted.with_unrecorded_runs(home, job_store.read(home))}
    due, _ = use_each(jobs, lambda job: due_since(home, job, now, resolution))
    return {instance for instance, since in due.items() if since}


def left_due(home: Home, instances: Set[str]) -> set[str]:
    """Return those of `instances` that are still due after a run, by their policy. Raises StateFileError."""
    jobs = job_store.by_instance(home)
    return {instance for instance in instances if (job := jobs.get(instance)) and job.policy and job.next_run_at
            and job.last_run_at and job.last_run_at >= job.next_run_at}


def sentence(home: Home, job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> str | None:
    """Return a sentence if `job` should have started and has not, else None. While Hermes is paused, none should."""
    due = due_since(home, job, now, resolution)
    if due is None or now < due + GRACE or paused(home):
        return None
    return (f"It was due at {due.astimezone(job.zone):%Y-%m-%d %H:%M:%S %z} and has not started. 'hermes-oscron sync' "
            f"starts it.")


def next_change(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> datetime.datetime | None:
    """Return when, after `now`, `sentence` will hold for `job` unless it starts; None if never."""
    due = due_at(job, resolution)
    return due + GRACE if due and due + GRACE > now else None
