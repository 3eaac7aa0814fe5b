"""Jobs that were due and have not started."""

import datetime

from ..hermes import claims
from ..hermes.emergency_stop import paused
from ..hermes.home import Home
from ..jobs.due import ceil_to
from ..jobs.model import Job
from ..jobs.record import hold_of, is_used_up
from ..runs import lock

GRACE = datetime.timedelta(seconds=5)
"""A job that is due for longer than this, and does not run, was not started."""


def due_at(job: Job, resolution: datetime.timedelta) -> datetime.datetime | None:
    """Return when a scheduler with `resolution` starts, or should have started, `job`; None if it is not scheduled.

    The agent requests a run at once by a `next_run_at` of that very moment, to the microsecond (`trigger_job`); an
    occurrence of a schedule is on a whole second. The end of a hold is not, and is armed all the same.
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
