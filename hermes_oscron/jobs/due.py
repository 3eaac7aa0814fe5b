"""Compute when a job runs next, and whether it is due now."""

import datetime

from ..schedule.model import INTERVAL, ONCE
from ..schedule.occurrences import latest_occurrence, next_occurrence
from .model import Job

RECENT = datetime.timedelta(minutes=1)
"""An occurrence that `next_run_at` does not mention counts if it is not older than this. See `is_due`."""


def next_run(job: Job, now: datetime.datetime) -> datetime.datetime | None:
    """Return when the operating system runs `job` next, in the job's zone; None if it will not.

    A one-shot that is past and has not run is still due.
    """
    if not job.is_scheduled or job.schedule is None:
        return None
    if job.schedule.kind == ONCE:
        return None if has_run(job, now) else job.schedule.run_at.astimezone(job.zone)
    due = next_occurrence(job.schedule, now, job.zone, job.phase)
    return due.astimezone(job.zone) if due else None


def has_run(job: Job, now: datetime.datetime) -> bool:
    """Return True if the one-shot `job` has run at its time or later, up to `now`.

    A run in the future does not count: it was recorded by a clock that was ahead.
    """
    return bool(job.schedule and job.last_run_at and job.schedule.run_at <= job.last_run_at <= now)


def never_fires(job: Job, now: datetime.datetime) -> bool:
    """Return True if `job` is scheduled but can never fire: its schedule is unusable or has no occurrence left.

    A past one-shot does not count.
    """
    if not job.is_scheduled:
        return False
    if job.schedule is None:
        return True
    return job.schedule.kind != ONCE and next_occurrence(job.schedule, now, job.zone) is None


def is_due(job: Job, now: datetime.datetime) -> bool:
    """Return True if `job` has an occurrence, up to `now`, that no run has answered yet.

    `next_run_at` decides: it moves on when a run ends, and when a scheduler, the agent's own too, claims the
    occurrence. The schedule decides only if `next_run_at` is not the occurrence that follows `now`: the clock may have
    been set back, or the schedule changed, and a job must not wait for a date that was never meant. Without a
    `next_run_at` the job is due, since the caller was started by a timer or a crontab line.
    """
    written = job.next_run_at
    if written is None:
        return True
    written = written.replace(microsecond=0)
    if written <= now:
        return True
    if job.schedule is None or next_occurrence(job.schedule, now, job.zone, written) == written:
        return False
    return latest_occurrence(job.schedule, now - RECENT, now, job.zone, written) is not None


def first_due(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> datetime.datetime | None:
    """Return the first time after `now` at which a scheduler with `resolution` starts `job`.

    An interval is moved back to the scheduler's grid, unless that is past. With the seconds kept, a run of some seconds
    under cron could last past the next minute and cost it.
    """
    due = next_run(job, now)
    if due is None or job.schedule is None or job.schedule.kind != INTERVAL:
        return due
    kept = floor_to(due, resolution)
    return kept if kept > now else ceil_to(due, resolution)


def floor_to(moment: datetime.datetime, resolution: datetime.timedelta) -> datetime.datetime:
    """Return the last multiple of `resolution` that is not after `moment`."""
    return _earlier(moment, _past(moment, resolution))


def ceil_to(moment: datetime.datetime, resolution: datetime.timedelta) -> datetime.datetime:
    """Return the first multiple of `resolution` not before `moment`: when a scheduler can start a job due then."""
    past = _past(moment, resolution)
    return _earlier(moment, past - resolution) if past else moment


def _past(moment: datetime.datetime, resolution: datetime.timedelta) -> datetime.timedelta:
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) % resolution


def _earlier(moment: datetime.datetime, time: datetime.timedelta) -> datetime.datetime:
    """Return the instant `time` before `moment`, in its zone.

    It computes in UTC: Python's arithmetic in a zone always takes the first pass of an hour that a clock change
    repeats.
    """
    return (moment.astimezone(datetime.UTC) - time).astimezone(moment.tzinfo)
