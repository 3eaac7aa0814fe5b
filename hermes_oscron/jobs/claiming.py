"""The claims of a job: the changes by which a process takes it, so that no other program runs it too.

Pure functions from Job to Job. `now` is an aware time. `hermes/claims.py` decides which claims of others count.
"""

import datetime
from collections.abc import Iterable

from ..schedule.model import ONCE, Schedule
from ..schedule.occurrences import next_occurrence
from .model import Job
from .record import Record, iso

LATE_S, MIN_GRACE_S, MAX_GRACE_S = 300.0, 120.0, 7200.0
"""The agent calls a start `late` after LATE_S, and `catch_up` after half a period within the two others."""


def claim(job: Job, now: datetime.datetime, by: str, scheduled: bool, occurrence: bool) -> Job:
    """Return `job` claimed by the process `by`, which runs it itself.

    If it runs the due `occurrence`, `next_run_at` moves on: that is how the agent's own scheduler takes one. A
    `scheduled` run notes how late it began, as there.
    """
    job = job.without_fields("pending_slot").with_fields({"fire_claim": _claim(job, now, by)})
    schedule, due = job.schedule, job.next_run_at
    if schedule is None:
        return job
    if schedule.kind == ONCE:
        return job.with_fields({"run_claim": _claim(job, now, by)})
    following = next_occurrence(schedule, now, job.zone, job.phase) if occurrence else None
    if following is None:
        return job
    if scheduled and due and job.record.get("manual_run_at") != job.record.get("next_run_at"):
        late_s = max(0.0, (now - due).total_seconds())
        job = job.with_fields({"last_dispatch": {
            "scheduled_at": job.record["next_run_at"], "dispatched_at": iso(now, job.zone),
            "lateness_seconds": round(late_s, 1), "kind": _lateness(job, schedule, following, late_s)}})
    return job.with_fields({"next_run_at": iso(following, job.zone)})


def claim_for_agent(job: Job, now: datetime.datetime, by: str) -> Job:
    """Return `job` with the claims that the agent, which runs it, does not make itself.

    It claims a scheduled job by a `fire_claim`, which the scheduler of an older agent does not honour for a one-shot,
    and claims no paused job.
    """
    if job.schedule and job.schedule.kind == ONCE:
        job = reserve(job, now, by)
    return job if job.is_scheduled else job.with_fields({"fire_claim": _claim(job, now, by)})


def reserve(job: Job, now: datetime.datetime, by: str) -> Job:
    """Return the one-shot `job` with a `run_claim` by the process `by`."""
    return job.with_fields({"run_claim": _claim(job, now, by)})


def renew_claims(job: Job, now: datetime.datetime, by: str) -> Job:
    """Return `job` with the claims of the process `by` renewed, and those of others as they are."""
    return job.with_fields({key: {**claim, "at": iso(now, job.zone)} for key in ("fire_claim", "run_claim")
                            if isinstance(claim := job.record.get(key), dict) and claim.get("by") == by})


def drop_claims(job: Job, keys: Iterable[str]) -> Job:
    """Return `job` without the claims `keys`."""
    return job.with_fields(dict.fromkeys(keys))


def restore_slot(job: Job, slot: str) -> Job:
    """Return `job` due at `slot`, an occurrence that a scheduler took and did not run before it ended."""
    return job.without_fields("pending_slot").with_fields({"next_run_at": slot})


def _claim(job: Job, now: datetime.datetime, by: str) -> Record:
    return {"at": iso(now, job.zone), "by": by}


def _lateness(job: Job, schedule: Schedule, following: datetime.datetime, late_s: float) -> str:
    """Return the agent's word for a start `late_s` after its time; `following` is the next occurrence."""
    if late_s <= MIN_GRACE_S:
        return "on_time"
    after = next_occurrence(schedule, following, job.zone, following)
    period_s = (after - following).total_seconds() if after else 0.0
    if late_s > max(MIN_GRACE_S, min(period_s // 2, MAX_GRACE_S)):
        return "catch_up"
    return "late" if late_s > LATE_S else "on_time"
