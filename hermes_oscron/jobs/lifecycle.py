"""The changes of a job: create, edit, pause, resume, claim, record a run. Pure functions from Job to Job.

`now` is an aware time. `resolution` is that of the scheduler in which the job is armed.
"""

import datetime
import os
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from ..barrier import use_each
from ..schedule.model import INTERVAL, ONCE, Schedule, ScheduleError
from ..schedule.occurrences import next_occurrence
from . import fields as job_fields
from .due import first_due, floor_to, has_run, next_run
from .fields import ValidationError
from .model import Job
from .record import COMPLETED, ERROR, PAUSED, SCHEDULED, Record, instant

MAX_CLAIM_AGE = datetime.timedelta(minutes=30)
"""The time for which the agent honours a `run_claim`; a run that goes on renews it."""


def create(profile: str, job_id: str, fields: Mapping[str, Any], schedule: Schedule, zone: ZoneInfo,
           now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return a new job of the checked `fields`. Raises ValidationError if it has nothing to run."""
    record: Record = {"id": job_id, **job_fields.defaults(), "state": SCHEDULED, "enabled": True,
                      "created_at": _iso(now, zone)}
    enabled = fields.get("enabled", True)
    job = _reschedule(Job(profile, record, zone, None), schedule, now, resolution)
    job = _require_work(_set_fields(job, fields))
    return job if enabled else pause(job, None, now)


def edit(job: Job, fields: Mapping[str, Any], schedule: Schedule | None, now: datetime.datetime,
         resolution: datetime.timedelta) -> Job:
    """Return `job` with the checked `fields` and, if it differs, `schedule`.

    Raises ValidationError if nothing is left to run, and ScheduleError if `enabled` resumes a job that cannot be.
    """
    if schedule and schedule != job.schedule:
        job = _reschedule(job, schedule, now, resolution)
    job = _set_fields(job, fields)
    if fields.keys() & {"prompt", "no_agent", "script"}:
        _require_work(job)
    if "enabled" in fields:
        return resume(job, now, resolution) if fields["enabled"] else pause(job, None, now)
    return job


def pause(job: Job, reason: str | None, now: datetime.datetime) -> Job:
    """Return `job` paused. Only a scheduled job changes."""
    if not job.is_scheduled:
        return job
    return job.with_fields({"enabled": False, "state": PAUSED, "paused_at": _iso(now, job.zone),
                            "paused_reason": reason, "next_run_at": None})


def resume(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return `job` scheduled again, from its next occurrence on; missed ones stay missed.

    A completed job is resumed only if its runs have no limit. Raises ScheduleError.
    """
    if job.is_scheduled or (job.state == COMPLETED and job.repeat.times is not None):
        return job
    if job.schedule is None:
        raise ScheduleError(job.schedule_error)
    if job.state == COMPLETED and (job.schedule.kind == ONCE or next_occurrence(job.schedule, now, job.zone) is None):
        return job
    if job.schedule.kind == ONCE and job.schedule.run_at <= now:
        raise ScheduleError(f"The job runs once, at {job.schedule.expression}, which is past: give it another time.")
    resumed = job.with_fields({"enabled": True, "state": SCHEDULED, "paused_at": None, "paused_reason": None})
    return _start_from(resumed, now, resolution)


def claim(job: Job, now: datetime.datetime) -> Job:
    """Return `job` with the occurrence that is due at `now` marked as taken, so that the agent does not run it.

    The mark is the agent's own: `next_run_at` moves on (`advance_next_run`), a one-shot gets a `run_claim`.
    """
    if job.schedule is None:
        return job
    if job.schedule.kind == ONCE:
        return job.with_fields({"run_claim": {"at": _iso(now, job.zone), "by": f"hermes-cron-exec:{os.getpid()}"}})
    following = next_occurrence(job.schedule, now, job.zone, job.phase)
    return job.with_fields({"next_run_at": _iso(following, job.zone)}) if following else job


def is_claimed(job: Job, now: datetime.datetime) -> bool:
    """Return True if the agent's own scheduler has marked this one-shot as running (`run_claim`)."""
    stored = job.record.get("run_claim")
    claimed = instant(stored.get("at")) if isinstance(stored, dict) else None
    return claimed is not None and datetime.timedelta(0) <= now - claimed < MAX_CLAIM_AGE


def record_run(job: Job, started: datetime.datetime, ended: datetime.datetime, error: str | None,
               delivery_error: str | None = None) -> Job:
    """Return `job` after a run from `started` to `ended`, which failed with `error` or went well.

    A manual run counts as any other, as in the agent, and a paused job stays paused. A job that was rescheduled
    during the run keeps its new schedule and count.
    """
    claims = {key: None for key in ("fire_claim", "run_claim") if job.record.get(key) is not None}
    job = job.with_fields({"last_run_at": _iso(ended, job.zone), "last_status": "error" if error else "ok",
                           "last_error": error, "last_delivery_error": delivery_error, **claims})
    rescheduled_at = instant(job.record.get("armed_at"))
    if rescheduled_at and rescheduled_at > started:
        return job
    repeat = job.repeat
    times, completed = repeat
    job = job.with_repeat(times, completed + 1)
    if not job.is_scheduled:
        return job
    schedule = job.schedule
    if schedule is None:
        return job.with_fields({"state": ERROR, "next_run_at": None, "last_error": error or job.schedule_error})
    found, errors = use_each({job.instance: job}, lambda job: next_occurrence(schedule, ended, job.zone, job.phase))
    if errors:
        return job.with_fields({"state": ERROR, "next_run_at": None, "last_error": error or errors[job.instance]})
    following = found[job.instance]
    if schedule.kind == ONCE:  # the agent counts a one-shot when it begins
        job = job.with_repeat(times, min(completed + 1, times or completed + 1))
    if schedule.kind == ONCE or repeat.is_last_run or following is None:
        return job.with_fields({"state": COMPLETED, "enabled": False, "next_run_at": None})
    return job.with_fields({"state": SCHEDULED, "next_run_at": _iso(following, job.zone)})


def correct_after_agent(job: Job, before: Job, ended: datetime.datetime) -> Job:
    """Return `job`, in which the agent has recorded a run, with the next run by our arithmetic.

    The agent counts an interval from the end of the run, croniter ignores clock changes, and both give a paused job a
    next run. `before` is the job when the run began; if it was rescheduled since, it is not changed.
    """
    rescheduled = any(job.record.get(key) != before.record.get(key) for key in ("schedule", "armed_at"))
    if rescheduled or job.state == COMPLETED:
        return job
    if job.state == PAUSED:
        return job.with_fields({"next_run_at": None})
    schedule = job.schedule
    if schedule is None:
        return job
    found, errors = use_each({job.instance: job}, lambda job: next_occurrence(schedule, ended, job.zone, before.phase))
    if errors:
        return job
    following = found[job.instance]
    return job.with_fields({"next_run_at": _iso(following, job.zone) if following else None})


def refresh_next_run(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return `job` with the next run at which the scheduler starts it; a one-shot that has run is completed.

    Other programs write records with an arithmetic of their own, or without a next run. A job that is due already is
    not changed until it has run.
    """
    written = job.next_run_at
    if job.schedule is None or not job.is_scheduled or (written and written <= now):
        return job
    if job.schedule.kind == ONCE and has_run(job, now):
        return job.with_fields({"state": COMPLETED, "enabled": False})
    kept = first_due(job, now, resolution)
    return job if kept is None or kept == written else job.with_fields({"next_run_at": kept.isoformat()})


def undo(current: Job, before: Job, after: Job, now: datetime.datetime) -> Job:
    """Return `current` without what a command changed from `before` to `after`.

    A run that ended since stays recorded, and its occurrence does not become due again.
    """
    record = dict(current.record)
    for key in {*before.record, *after.record}:
        if before.record.get(key) != after.record.get(key) and record.get(key) == after.record.get(key):
            record[key] = before.record.get(key)
            if key not in before.record:
                del record[key]
    job = Job.from_record(current.profile, record, current.zone)
    if job.schedule and job.last_run_at != before.last_run_at:
        due = next_run(job, now)
        return job.with_fields({"next_run_at": due.isoformat() if due else None})
    return job


def _set_fields(job: Job, given: Mapping[str, Any]) -> Job:
    """Return `job` with the checked fields `given`, except `enabled`. Where a text may be empty, "" clears it."""
    changes = {key: job_fields.stored(key, value) for key, value in given.items() if key not in ("repeat", "enabled")}
    record = {**job.record, **changes}
    changes["deliver"] = record.get("deliver") or "local"
    if "skills" in given:
        changes["skill"] = given["skills"][0] if given["skills"] else None
    if not str(record.get("name") or "").strip():
        changes["name"] = (str(record.get("prompt") or "").strip() or str(record.get("script") or ""))[:50].strip()
    job = job.with_fields(changes)
    return job.with_repeat(given["repeat"], job.repeat.completed) if "repeat" in given else job


def _require_work(job: Job) -> Job:
    """Return `job`. Raises ValidationError if it has nothing to run."""
    if job.record.get("no_agent"):
        if not job.record.get("script"):
            raise ValidationError("script is missing: a job with no_agent runs a script.")
    elif not str(job.record.get("prompt") or "").strip():
        raise ValidationError("prompt is missing.")
    return job


def _reschedule(job: Job, schedule: Schedule, now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return `job` on `schedule` from `now` on; a completed job is scheduled again.

    A one-shot runs once and any other job without a limit, unless the client has set a count.
    """
    times, completed = job.repeat
    before = job.record.get("schedule")
    if times in (None, 1) and (not isinstance(before, dict) or schedule.kind != before.get("kind")):
        times = 1 if schedule.kind == ONCE else None
    job = job.with_schedule(schedule)
    if job.state == COMPLETED:
        job = job.with_fields({"state": SCHEDULED, "enabled": True})
        completed = 0
    return _start_from(job.with_repeat(times, completed), now, resolution)


def _start_from(job: Job, now: datetime.datetime, resolution: datetime.timedelta) -> Job:
    """Return `job` due from `now` on only; an interval counts from there."""
    job = job.with_fields({"next_run_at": None, "armed_at": _iso(now, job.zone)})
    if not job.is_scheduled or job.schedule is None:
        return job
    if job.schedule.kind == ONCE:
        due: datetime.datetime | None = job.schedule.run_at
    else:
        due = next_occurrence(job.schedule, now, job.zone)
        if due and job.schedule.kind == INTERVAL:
            due = floor_to(due, resolution)
    return job.with_fields({"next_run_at": _iso(due, job.zone) if due else None})


def _iso(moment: datetime.datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).isoformat()
