"""Occurrences that do not begin because they are too late, by the policy of the job or the setting of the agent.

Pure functions from Job to Job.
"""

import datetime

from ..schedule.model import ONCE
from ..schedule.occurrences import next_occurrence
from .due import is_missed, is_requested, start_limit
from .lifecycle import pause
from .model import Job
from .policy import NONE
from .policy import ONCE as ONCE_LATE
from .record import COMPLETED, HOLD_FIELDS, iso

JUST_BEFORE = datetime.timedelta(microseconds=1)


def skip_missed(job: Job, now: datetime.datetime, catches_up: bool = False, waited: bool = False) -> Job:
    """Return `job` due at its first occurrence that may begin; one that was missed, or is too late, does not run.

    `catches_up` is the agent's setting, for a job whose policy has none. A job that has `waited` in the queue was not
    missed. A one-shot that is too late is completed.
    """
    schedule, due = job.schedule, job.next_run_at
    if schedule is None or due is None or due > now or not job.is_scheduled or is_requested(job):
        return job
    catch_up = job.policy.get("catch_up", ONCE_LATE if catches_up else NONE)
    limit = start_limit(job, now, missed=not waited)
    if not waited and catch_up == NONE and is_missed(job, now):
        after = now
    elif limit and due < limit:
        after = limit - JUST_BEFORE
    else:
        return job
    return due_after(job, after)


def due_after(job: Job, after: datetime.datetime) -> Job:
    """Return `job` due at its first occurrence after that time; without one, as after a one-shot, it is completed."""
    job = job.without_fields(*HOLD_FIELDS)
    if job.schedule and (following := next_occurrence(job.schedule, after, job.zone, job.phase)):
        return job.with_fields({"next_run_at": iso(following, job.zone)})
    return job.with_fields({"state": COMPLETED, "enabled": False, "next_run_at": None})


def restored(job: Job, now: datetime.datetime) -> Job:
    """Return `job` from a backup: occurrences since then stay missed, and a one-shot whose time is past is paused."""
    due = job.next_run_at
    if job.schedule is None or not job.is_scheduled or due is None or due > now:
        return job
    if job.schedule.kind == ONCE:
        return pause(job, "Its time was past when it was restored from a backup.", now)
    following = next_occurrence(job.schedule, now, job.zone, job.phase)
    next_run_at = iso(following, job.zone) if following else None
    return job.without_fields(*HOLD_FIELDS).with_fields({"next_run_at": next_run_at})
