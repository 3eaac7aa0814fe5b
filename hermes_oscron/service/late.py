"""Jobs that were due and have not started."""

import datetime

from ..hermes.home import Home
from ..jobs.due import ceil_to
from ..jobs.lifecycle import is_claimed
from ..jobs.model import Job
from ..runs import lock

GRACE = datetime.timedelta(seconds=5)
"""A job that is due for longer than this, and does not run, was not started."""


def due_at(job: Job, resolution: datetime.timedelta) -> datetime.datetime | None:
    """Return when a scheduler with `resolution` starts, or should have started, `job`; None if it is not scheduled.

    The agent requests a run at once by a `next_run_at` of that very moment, to the microsecond (`trigger_job`); an
    occurrence of a schedule is on a whole second.
    """
    due = job.next_run_at
    if due is None or not job.is_scheduled:
        return None
    return due if due.microsecond else ceil_to(due, resolution)


def sentence(home: Home, job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> str | None:
    """Return a sentence if `job` should have started and has not, else None."""
    due = due_at(job, resolution)
    if due is None or now < due + GRACE or is_claimed(job, now) or lock.find(home, job.id):
        return None
    return (f"It was due at {due.astimezone(job.zone):%Y-%m-%d %H:%M:%S %z} and has not started. 'hermes-oscron sync' "
            f"starts it.")


def next_change(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> datetime.datetime | None:
    """Return when, after `now`, `sentence` will hold for `job` unless it starts; None if never."""
    due = due_at(job, resolution)
    return due + GRACE if due and due + GRACE > now else None
